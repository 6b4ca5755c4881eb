"""The demo's check of isolation: what it finds, and what it does not take for a breach."""

from collections.abc import AsyncIterator
from itertools import count

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from cli.demo.isolation import try_everything
from shared.testing.api_client import open_client
from shared.testing.operations import Field, Operation
from shared.testing.tenant import Tenant

TRADES = Operation("GET", "/v1/trades", False, False, None, (Field("session_id", {"format": "uuid"}, False, True),))
TRADE = Operation("GET", "/v1/trades/{id}", False, False, None, ())
CANDLES = Operation("GET", "/v1/candles", False, False, None, (Field("symbol", {"type": "string"}, True, False),))
IDS = {"owner": "019c0000-0000-7000-8000-0000000000a1", "intruder": "019c0000-0000-7000-8000-0000000000b2"}
People = tuple[Tenant, Tenant]


class Server:
    """Lists a trade of each tenant; with `leaks`, any tenant may read and so change any trade by its id."""

    def __init__(self) -> None:
        self.leaks = False
        self.notes = dict.fromkeys(IDS, "")
        self._requests = count()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/trades", self.list_trades)
        app.router.add_get("/v1/trades/{id}", self.get_trade)
        app.router.add_get("/v1/candles", self.refuse)
        return app

    async def list_trades(self, request: web.Request) -> web.Response:
        name = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if name not in IDS:
            return web.Response(status=401)
        items = [{"trade_id": IDS[name], "notes": self.notes[name]}]
        return web.json_response({"items": [] if "session_id" in request.query else items, "next_cursor": None})

    async def get_trade(self, request: web.Request) -> web.Response:
        name = request.headers.get("Authorization", "").removeprefix("Bearer ")
        owner = next((each for each, one in IDS.items() if one == request.match_info["id"]), "")
        if name not in IDS:
            return web.Response(status=401)
        if not owner or (owner != name and not self.leaks):
            return web.json_response({"detail": "not found"}, status=404)
        self.notes[owner] = f"read by {name}"
        return web.json_response({"trade_id": IDS[owner]})

    async def refuse(self, request: web.Request) -> web.Response:
        status = 422 if request.headers.get("Authorization", "").removeprefix("Bearer ") in IDS else 401
        return web.json_response({"detail": "symbol is missing", "request_id": next(self._requests)}, status=status)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def people(server: Server) -> AsyncIterator[People]:
    async with TestServer(server.app()) as running, open_client(f"http://127.0.0.1:{running.port}") as client:
        owner, intruder = (Tenant(client.url, client.http, name, canary=f"canary{name}") for name in IDS)
        yield owner, intruder


async def test_an_isolated_platform_has_no_breach(people: People) -> None:
    assert await try_everything([TRADES, TRADE, CANDLES], *people, bodies={}) == []


async def test_a_leak_and_a_changed_trade_are_breaches(server: Server, people: People) -> None:
    server.leaks = True
    assert await try_everything([TRADES, TRADE, CANDLES], *people, bodies={}) == [
        f"GET /v1/trades/{{id}}: with another's {IDS['owner']} answers 200, with nothing's 404",
        "data of the owner at /v1/trades was changed",
    ]
