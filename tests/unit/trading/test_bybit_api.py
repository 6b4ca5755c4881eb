"""pybit over real sockets: whatever the exchange answers, we return a valid result or raise one of two errors."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.trading.bybit_api import MarketApi, NotBars, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable

Answer = Callable[[web.Request], Awaitable[web.Response]]
BAR = ["1767225600000", "10", "12", "9", "11", "3", "33"]


class Hostile:
    """Answers every request with the same bytes."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.requests = 0

    async def answer(self, _: web.Request) -> web.Response:
        self.requests += 1
        return web.Response(
            body=self.body, status=self.status, headers=self.headers, content_type="application/json"
        )

    def result(self, result: object, code: int = 0) -> None:
        body = {"retCode": code, "retMsg": "said", "result": result, "retExtInfo": {}, "time": 1}
        self.body = json.dumps(body).encode()


@pytest.fixture
async def exchange() -> AsyncIterator[tuple[Hostile, MarketApi]]:
    hostile = Hostile()
    app = web.Application()
    app.router.add_get("/{path:.*}", hostile.answer)
    async with TestServer(app) as server:
        api = MarketApi(str(server.make_url("")).rstrip("/"))
        yield hostile, api
        api.close()


async def test_bars_come_ascending_and_exact(exchange: tuple[Hostile, MarketApi]) -> None:
    hostile, api = exchange
    hostile.result({"list": [["1767225660000", *BAR[1:]], BAR]})
    first, second = await api.bars("BTCUSDT", "1")
    assert first.open_time < second.open_time
    assert [str(value) for value in (first.open, first.high, first.low, first.close)] == ["10", "12", "9", "11"]


@pytest.mark.parametrize(
    "result",
    [
        None,
        [],
        "text",
        {},
        {"list": None},
        {"list": [[]]},
        {"list": [BAR[:4]]},
        {"list": [["x", *BAR[1:]]]},
        {"list": [["9" * 30, *BAR[1:]]]},
        {"list": [["4102444800000", *BAR[1:]]]},
        {"list": [[BAR[0], "NaN", *BAR[2:]]]},
        {"list": [[BAR[0], "1e3", *BAR[2:]]]},
        {"list": [[BAR[0], "-1", *BAR[2:]]]},
        {"list": [[BAR[0], "0", *BAR[2:]]]},
        {"list": [[BAR[0], None, *BAR[2:]]]},
    ],
)
async def test_a_result_of_another_shape_raises_venue_unavailable(
    exchange: tuple[Hostile, MarketApi], result: object
) -> None:
    hostile, api = exchange
    hostile.result(result)
    with pytest.raises(VenueUnavailable):
        await api.bars("BTCUSDT", "1")


@pytest.mark.parametrize(
    ("interval", "late_by_ms", "by"), [("1", 1, "1 ms past the grid of 1 min"), ("D", 5 * 3_600_000, "5 h past")]
)
async def test_a_bar_off_the_grid_of_its_interval_is_refused(
    exchange: tuple[Hostile, MarketApi], interval: str, late_by_ms: int, by: str
) -> None:
    hostile, api = exchange
    time_ms = int(BAR[0]) + late_by_ms
    hostile.result({"list": [[str(time_ms), *BAR[1:]]]})
    with pytest.raises(NotBars, match=f"the bar of {time_ms}: .* is {by}"):
        await api.bars("BTCUSDT", interval)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (200, b'{"retCode":0,'),
        (200, b"[]"),
        (200, b"null"),
        (200, b"<html>maintenance</html>"),
        (403, b"rate limit"),
        (429, b""),
        (502, b"<html>bad gateway</html>"),
    ],
)
async def test_an_invalid_answer_raises_venue_unavailable(
    exchange: tuple[Hostile, MarketApi], status: int, body: bytes
) -> None:
    hostile, api = exchange
    hostile.status, hostile.body = status, body
    with pytest.raises(VenueUnavailable):
        await api.server_time()


@pytest.mark.parametrize("code", [10002, 10006, 10016, 30034])
async def test_pybit_neither_retries_nor_sleeps(exchange: tuple[Hostile, MarketApi], code: int) -> None:
    hostile, api = exchange
    hostile.result({}, code)
    hostile.headers = {"X-Bapi-Limit-Reset-Timestamp": "1"}
    with pytest.raises(VenueUnavailable, match=str(code)):
        await api.bars("BTCUSDT", "1")
    assert hostile.requests == 1


async def test_an_unreachable_exchange_raises_venue_unavailable() -> None:
    api = MarketApi("http://127.0.0.1:9")
    with pytest.raises(VenueUnavailable):
        await api.server_time()
    api.close()


async def test_a_symbol_that_is_not_listed_is_unknown(exchange: tuple[Hostile, MarketApi]) -> None:
    hostile, api = exchange
    hostile.result({"list": []})
    with pytest.raises(UnknownSymbol):
        await api.instrument("NOSUCH")
    hostile.result({}, 10001)
    with pytest.raises(UnknownSymbol):
        await api.bars("NOSUCH", "1")
