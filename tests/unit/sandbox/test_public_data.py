"""The public data that the feed reads: candles, contracts and topics, over real sockets."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import BaseTestServer, TestServer

from sandbox.bybit.instruments import Instrument
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import make_app
from services.trading.bybit_api import MarketApi, UnknownSymbol

HOUR = 3_600_000


@pytest.fixture
async def server() -> AsyncIterator[BaseTestServer]:
    bars = [Candle(n * HOUR, "10.5", "12", "9", "11", "3.5") for n in range(470_000, 470_010)]
    app = make_app(Market({"BTCUSDT": bars}), {"BTCUSDT": Instrument(tick_size="0.5")})
    async with TestServer(app) as running:
        yield running


async def get(server: BaseTestServer, path: str) -> Any:
    async with aiohttp.ClientSession(server.make_url("/")) as session, session.get(path) as answer:
        return await answer.json()


async def step(server: BaseTestServer, count: int) -> None:
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        await session.post("/control/step", json={"count": count})


async def test_a_topic_that_does_not_exist_is_refused(server: BaseTestServer) -> None:
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        async with session.ws_connect("/v5/public/linear") as socket:
            await socket.send_json({"op": "subscribe", "req_id": "1", "args": ["kline.60.NOSUCH"]})
            assert (await socket.receive_json())["success"] is False


async def test_klines_come_newest_first_and_the_open_bar_with_them(server: BaseTestServer) -> None:
    await step(server, 3)
    rows = (await get(server, "/v5/market/kline?symbol=BTCUSDT&interval=60"))["result"]["list"]
    assert [int(row[0]) // HOUR for row in rows] == [470_002, 470_001, 470_000]
    assert rows[0][5] == "0"


@pytest.mark.parametrize(
    "query", ["symbol=NO&interval=60", "symbol=BTCUSDT&interval=7", "symbol=BTCUSDT&interval=60&limit=0"]
)
async def test_bad_parameters_are_answered_as_the_exchange_does(server: BaseTestServer, query: str) -> None:
    assert (await get(server, f"/v5/market/kline?{query}"))["retCode"] == 10001


async def test_pybit_reads_it_over_real_sockets(server: BaseTestServer) -> None:
    api = MarketApi(str(server.make_url("")).rstrip("/"))
    await step(server, 3)
    assert len(await api.bars("BTCUSDT", "60")) == 3
    assert str((await api.instrument("BTCUSDT")).tick_size) == "0.5"
    with pytest.raises(UnknownSymbol):
        await api.instrument("NOSUCH")
    api.close()


async def test_the_ledger_lists_the_requests_received(server: BaseTestServer) -> None:
    await get(server, "/v5/market/time")
    assert [entry["path"] for entry in await get(server, "/control/ledger")] == ["/v5/market/time"]


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"count": 0}', b'{"count": "x"}'])
async def test_an_invalid_step_is_refused(server: BaseTestServer, body: bytes) -> None:
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        async with session.post("/control/step", data=body) as answer:
            assert answer.status == 422


async def test_a_text_ping_and_a_ping_frame_are_both_answered(server: BaseTestServer) -> None:
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        async with session.ws_connect("/v5/public/linear", autoping=False) as socket:
            await socket.ping(b"still there?")
            assert (await socket.receive()).type is aiohttp.WSMsgType.PONG
            await socket.send_json({"op": "ping", "req_id": "7"})
            pong = await socket.receive_json()
            assert (pong["op"], pong["ret_msg"], pong["req_id"]) == ("ping", "pong", "7")


async def test_a_muted_stream_stays_connected_and_sends_nothing(server: BaseTestServer) -> None:
    async with aiohttp.ClientSession(server.make_url("/")) as session:
        async with session.ws_connect("/v5/public/linear") as socket:
            await socket.send_json({"op": "subscribe", "req_id": "1", "args": ["kline.60.BTCUSDT"]})
            await socket.receive_json()
            await session.post("/control/stream", json={"fault": "mute"})
            await step(server, 1)
            await session.post("/control/stream", json={"fault": "speak"})
            await step(server, 1)
            first = (await socket.receive_json())["data"][0]
            assert (first["start"] // HOUR, first["confirm"]) == (470_000, True)
