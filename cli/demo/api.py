"""HTTP client of the demo: all requests go through the gateway, like those of any client."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from stack.failure import CheckFailed

TIMEOUT_S = 30


@dataclass
class ApiAnswer:
    status: int
    body: Any  # Any: the JSON body of the response

    def problem(self) -> str:
        """Return the detail of a problem response."""
        return str(self.body.get("detail", self.body)) if isinstance(self.body, dict) else str(self.body)


@dataclass
class Client:
    """API client of one tenant; refreshes its access token when it has expired."""

    http: aiohttp.ClientSession
    gateway: str
    token: str = ""
    refresh_token: str = ""

    async def call(self, method: str, path: str, body: object = None, **query: str) -> ApiAnswer:
        """Send a request and return the response with any status."""
        answer = await self._call(method, path, body, query)
        if answer.status == 401 and self.refresh_token:
            await self._refresh()
            answer = await self._call(method, path, body, query)
        return answer

    async def _refresh(self) -> None:
        body = {"refresh_token": self.refresh_token}
        self.token, self.refresh_token = "", ""
        fresh = await self.must("POST", "/v1/auth/refresh", body)
        self.token, self.refresh_token = fresh["access_token"], fresh["refresh_token"]

    async def _call(self, method: str, path: str, body: object, query: Mapping[str, str]) -> ApiAnswer:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        stream = {"seconds": "0"} if path.endswith("/stream") else {}  # end the stream after the available items
        async with self.http.request(
            method, self.gateway + path, json=body, params={**query, **stream}, headers=headers
        ) as answer:
            text = await answer.text()
            is_json = "json" in answer.headers.get("Content-Type", "")
            return ApiAnswer(
                answer.status, await answer.json(content_type=None) if text and is_json else text or None
            )

    async def must(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Send a request and return the body of a 2xx response. Raises CheckFailed with the problem otherwise."""
        answer = await self.call(method, path, body, **query)
        if not 200 <= answer.status < 300:
            raise CheckFailed(f"{method} {path} returned {answer.status}: {answer.problem()}")
        return answer.body

    async def every(self, path: str, **query: str) -> AsyncIterator[Any]:
        """Yield all items of a list, page by page."""
        cursor: str | None = None
        while True:
            page = await self.must("GET", path, limit="200", **query, **({"cursor": cursor} if cursor else {}))
            for item in page["items"]:
                yield item
            cursor = page.get("next_cursor")
            if not cursor:
                return


@asynccontextmanager
async def open_http() -> AsyncIterator[aiohttp.ClientSession]:
    """Open one connection pool for all tenants of the demo."""
    connector = aiohttp.TCPConnector(limit=16)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield http
