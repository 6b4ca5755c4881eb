"""The HTTP client of our API, for tests, fault runs and the demo."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from uuid import UUID

import aiohttp
import jwt

Json: TypeAlias = dict[str, Any]  # Any: a JSON object

PASSWORD = "correct horse battery"
PAGE = 7  # small, so that tests follow cursors


class UnexpectedAnswer(Exception):
    """An answer other than 2xx to a request that must succeed."""


@dataclass(frozen=True)
class Answer:
    """`body` is empty if the answer is no JSON; `raw` is its text."""

    status: int
    body: Json = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: str = ""

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def text(self, name: str) -> str:
        return str(self.body[name])

    def problem(self) -> str:
        """Return the detail of a problem response."""
        return str(self.body.get("detail", self.raw))


@dataclass
class ApiClient:
    """Calls a service or the gateway, as the user of `token`. With `renews` it logs in again after a 401."""

    url: str
    http: aiohttp.ClientSession
    token: str = ""
    refresh_token: str = ""
    email: str = ""
    password: str = PASSWORD
    renews: bool = False

    async def call(
        self, method: str, path: str, body: Json | None = None, token: str = "", **headers: str
    ) -> Answer:
        """Return the answer, of any status. Write dashes in header names as underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        answer = await self.send(method, path, body, token or self.token, named)
        expired = answer.status == 401 and self.renews and not path.startswith("/v1/auth/")
        if expired and self.keep(await self.log_in(self.email, self.password)).ok:
            return await self.send(method, path, body, self.token, named)
        return answer

    async def send(
        self, method: str, path: str, body: Json | None, token: str, headers: Mapping[str, str]
    ) -> Answer:
        sent = {**headers, **({"Authorization": f"Bearer {token}"} if token else {})}
        ends = {"seconds": "0"} if path.endswith("/stream") else {}  # the stream ends after the stored events
        async with self.http.request(method, self.url + path, params=ends, json=body, headers=sent) as answer:
            raw = await answer.text()
            decoded = json.loads(raw) if raw and "json" in answer.content_type else {}
            return Answer(answer.status, decoded, answer.headers, raw)

    async def must(self, method: str, path: str, body: Json | None = None, token: str = "") -> Json:
        """Return the body of a 2xx answer. Raises UnexpectedAnswer with the problem otherwise."""
        answer = await self.call(method, path, body, token)
        if not answer.ok:
            raise UnexpectedAnswer(f"{method} {path} returned {answer.status}: {answer.problem()}")
        return answer.body

    async def list_all(self, path: str, token: str = "", limit: int = PAGE) -> list[Json]:
        """Return all items of a list, read page by page."""
        items: list[Json] = []
        first = cursor = f"{path}{'&' if '?' in path else '?'}limit={limit}"
        while cursor:
            page = await self.must("GET", cursor, token=token)
            items += page["items"]
            cursor = f"{first}&cursor={page['next_cursor']}" if page["next_cursor"] else ""
        return items

    async def register(self, email: str, password: str = PASSWORD, **fields: object) -> Answer:
        return await self.call("POST", "/v1/auth/register", {"email": email, "password": password, **fields})

    async def log_in(self, email: str, password: str = PASSWORD) -> Answer:
        return await self.call("POST", "/v1/auth/login", {"email": email, "password": password})

    async def refresh(self, refresh_token: str) -> Answer:
        return await self.call("POST", "/v1/auth/refresh", {"refresh_token": refresh_token})

    def keep(self, answer: Answer) -> Answer:
        """Call as the user of these tokens from now on, unless they were refused."""
        if answer.ok:
            self.token, self.refresh_token = answer.text("access_token"), answer.text("refresh_token")
        return answer


def public_id_of(token: str) -> UUID:
    """Return the public id of the token's user, without verifying the token."""
    return UUID(jwt.decode(token, options={"verify_signature": False})["sub"])


@asynccontextmanager
async def open_client(url: str, *, connections: int = 100, timeout_s: float = 300) -> AsyncIterator[ApiClient]:
    connector = aiohttp.TCPConnector(limit=connections)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as http:
        yield ApiClient(url, http)
