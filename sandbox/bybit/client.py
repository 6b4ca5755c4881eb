"""A client for tests: drives a sandbox through `/control`, and sends signed requests as any program would."""

import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
from aiohttp import web
from yarl import URL

from sandbox.bybit.instruments import Instrument
from sandbox.bybit.messages import Json
from sandbox.bybit.replay import Market
from sandbox.bybit.server import Options, make_app
from sandbox.bybit.signing import sign

RECV_WINDOW_MS = 5_000


@dataclass(frozen=True)
class SandboxAccount:
    uid: str
    api_key: str
    api_secret: str = field(repr=False)


class ControlError(Exception):
    """The control API refused a request."""


class SandboxClient:
    """`url`: of a running sandbox, without a slash at the end."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self.url = url
        self.stream_url = f"ws{url.removeprefix('http')}"
        self._http = http

    async def control(self, method: str, path: str, body: Mapping[str, object] | None = None) -> object:
        """Raises ControlError."""
        async with self._http.request(method, f"{self.url}/control/{path}", json=body) as answer:
            if answer.status != 200:
                raise ControlError(await answer.text())
            found: object = await answer.json()
            return found

    async def step(self, count: int = 1) -> Json:
        return _object(await self.control("POST", "step", {"count": count}))

    async def state(self) -> Json:
        return _object(await self.control("GET", "state"))

    async def private_topics(self, account: SandboxAccount) -> list[str]:
        """Return the topics that the account has subscribed to, over all its connections."""
        topics = _object((await self.state())["private_subscriptions"]).get(account.uid, [])
        assert isinstance(topics, list), "the sandbox lists topics"
        return topics

    async def open_account(self, **facts: object) -> SandboxAccount:
        """`facts`: as `POST /control/accounts` takes them, such as `balance="100"`, `key={"read_only": True}`."""
        opened = _object(await self.control("POST", "accounts", facts))
        return SandboxAccount(str(opened["uid"]), str(opened["api_key"]), str(opened["api_secret"]))

    async def change_key(self, account: SandboxAccount, **facts: object) -> None:
        await self.control("PATCH", f"keys/{account.api_key}", facts)

    async def delay(self, account: SandboxAccount | None = None, **delays: int) -> None:
        """Set `answer_ms`, `read_ms`, `lookup_ms`, `stream_ms`; without an account those of all."""
        await self.control("POST", f"accounts/{account.uid}/delays" if account else "delays", delays)

    async def fault(self, action: str, **rule: object) -> int:
        """Inject a fault of requests, as `POST /control/faults` takes it. Return its number."""
        number = _object(await self.control("POST", "faults", {"action": action, **rule}))["number"]
        assert isinstance(number, int), "the control API returns the fault"
        return number

    async def clear_faults(self) -> None:
        await self.control("DELETE", "faults")

    async def stream_fault(self, fault: str, **rule: object) -> None:
        await self.control("POST", "stream", {"fault": fault, **rule})

    async def ledger(self, kind: str = "request", **filters: object) -> list[Json]:
        """`kind`: request, order, execution, fault, or * for all; `filters`: fields of the entries."""
        query = {"kind": kind, **{name: str(value) for name, value in filters.items()}}
        async with self._http.get(f"{self.url}/control/ledger", params=query) as answer:
            entries: list[Json] = await answer.json()
            return entries

    async def get(self, account: SandboxAccount | None, path: str, **query: object) -> Json:
        """Return the answer to a GET, signed if there is an account."""
        text = "&".join(f"{name}={value}" for name, value in query.items())
        headers = self.signature(account, text) if account else {}
        url = URL(f"{self.url}{path}?{text}", encoded=True)  # sent as it is signed
        async with self._http.get(url, headers=headers) as answer:
            return _object(await answer.json())

    async def post(self, account: SandboxAccount, path: str, **body: object) -> Json:
        """Return the answer to a signed POST."""
        text = json.dumps(body)
        async with self._http.post(f"{self.url}{path}", data=text, headers=self.signature(account, text)) as answer:
            return _object(await answer.json())

    def signature(self, account: SandboxAccount, payload: str, timestamp_ms: int | None = None) -> dict[str, str]:
        """Return the headers of a request; `timestamp_ms` None: now."""
        timestamp = int(time.time() * 1000) if timestamp_ms is None else timestamp_ms
        return {
            "X-BAPI-API-KEY": account.api_key,
            "X-BAPI-TIMESTAMP": str(timestamp),
            "X-BAPI-RECV-WINDOW": str(RECV_WINDOW_MS),
            "X-BAPI-SIGN": sign(account.api_secret, f"{timestamp}{account.api_key}{RECV_WINDOW_MS}{payload}"),
            "Content-Type": "application/json",
        }

    @asynccontextmanager
    async def private_stream(
        self, account: SandboxAccount, topics: Sequence[str] = ("order", "execution", "position", "wallet")
    ) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
        """Yield a private stream that is logged in and subscribed to the topics."""
        async with self._http.ws_connect(f"{self.stream_url}/v5/private") as socket:
            expires = int(time.time() * 1000) + 10_000
            login = [account.api_key, expires, sign(account.api_secret, f"GET/realtime{expires}")]
            for request in (
                {"op": "auth", "args": login},
                {"op": "subscribe", "args": list(topics), "req_id": "1"},
            ):
                await socket.send_json(request)
                answer = await socket.receive_json()
                if not answer["success"]:
                    raise ControlError(str(answer))
            yield socket


@asynccontextmanager
async def connect(url: str) -> AsyncIterator[SandboxClient]:
    async with aiohttp.ClientSession() as http:
        yield SandboxClient(url.rstrip("/"), http)


@asynccontextmanager
async def serve(
    market: Market, instruments: Mapping[str, Instrument] | None = None, options: Options | None = None
) -> AsyncIterator[SandboxClient]:
    """Serve a sandbox on a free port, in this process."""
    runner = web.AppRunner(make_app(market, instruments or {}, options), shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        async with connect(site.name.replace(":0", f":{runner.addresses[0][1]}")) as client:
            yield client
    finally:
        await runner.cleanup()


def _object(value: object) -> Json:
    assert isinstance(value, dict), "the sandbox answers with objects"
    return value
