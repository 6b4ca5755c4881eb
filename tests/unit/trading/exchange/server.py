"""A scripted exchange on a real socket, which checks signatures, and an account on it."""

import asyncio
import hashlib
import hmac
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web
from aiohttp.test_utils import TestServer

from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.address_budget import AddressLimit, AddressState, Grant, block, grant
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import Exchange, TradingAccount

KEY, SECRET = "key-of-the-test", "canary-secret-of-the-test"
NOW_MS = 1_767_225_600_000
Answer = web.StreamResponse | dict[str, object]
Handler = Callable[[web.Request, Mapping[str, str]], Awaitable[Answer] | Answer]


def envelope(result: object, code: int = 0, message: str = "OK") -> dict[str, object]:
    return {"retCode": code, "retMsg": message, "result": result, "retExtInfo": {}, "time": NOW_MS}


def raw(body: bytes, status: int = 200, **headers: str) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


def coded(code: int, message: str = "words", **headers: str) -> web.Response:
    return raw(json.dumps(envelope({}, code, message)).encode(), 200, **headers)


@dataclass
class Scripted:
    """Answers by path with what `answers` has for it: a result, or a function of the request and its values."""

    answers: dict[str, object] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, object]]] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        payload = (await request.read()).decode() if request.method == "POST" else request.rel_url.raw_query_string
        self._check_signature(request, payload)
        values = json.loads(payload) if request.method == "POST" else dict(request.query)
        self.requests.append((request.path, values))
        answer = self.answers.get(request.path, {})
        if callable(answer):
            answer = answer(request, values)
            if asyncio.iscoroutine(answer):
                answer = await answer
        if isinstance(answer, web.StreamResponse):
            return answer
        return web.json_response(envelope(answer))

    def _check_signature(self, request: web.Request, payload: str) -> None:
        if request.path == "/v5/market/time":
            return
        timestamp, window = request.headers["X-BAPI-TIMESTAMP"], request.headers["X-BAPI-RECV-WINDOW"]
        self.timestamps.append(int(timestamp))
        signed = timestamp + request.headers["X-BAPI-API-KEY"] + window + payload
        expected = hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).hexdigest()
        assert request.headers["X-BAPI-SIGN"] == expected

    def sent(self, path: str) -> list[dict[str, object]]:
        return [values for each, values in self.requests if each == path]


class MemoryBudgets:
    """Implements BudgetStore within one process."""

    def __init__(self) -> None:
        self.states: dict[str, AddressState] = defaultdict(AddressState)

    async def take(self, address: str, wanted: tuple[int, ...], limit: AddressLimit) -> Grant:
        now = asyncio.get_running_loop().time()
        self.states[address], given = grant(self.states[address], now, wanted, limit)
        return given

    async def block(self, address: str, for_s: float) -> None:
        now = asyncio.get_running_loop().time()
        self.states[address] = block(self.states[address], now + for_s)


def account(user_id: int = 7, uid: str = "1001") -> TradingAccount:
    return TradingAccount(user_id, uid, "SANDBOX", "GLOBAL", Credentials(KEY, SECRET))


@asynccontextmanager
async def exchange_at(url: str, requests: int = 400) -> AsyncIterator[Exchange]:
    exchange = Exchange(
        MemoryBudgets(), Environments(False, url, f"{url.replace('http', 'ws')}/v5/public"), "a", requests
    )
    try:
        yield exchange
    finally:
        await exchange.close()


@asynccontextmanager
async def scripted() -> AsyncIterator[tuple[Scripted, Exchange, BybitVenue]]:
    script = Scripted()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", script.handle)
    async with TestServer(app) as server, exchange_at(str(server.make_url("")).rstrip("/")) as exchange:
        yield script, exchange, exchange.venue(account())
