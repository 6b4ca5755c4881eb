"""Public data besides candles: books, trades, the band, the contracts and their filters."""

import aiohttp
import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.instruments import Instrument
from sandbox.bybit.messages import Json
from sandbox.bybit.replay import Market
from tests.unit.sandbox.market import FIRST, HOUR, buy, cursor_of, hourly_bars, rows

BTC = {"category": "linear", "symbol": "BTCUSDT"}


async def result(sandbox: SandboxClient, path: str, **query: object) -> Json:
    found = (await sandbox.get(None, f"/v5/market/{path}", **query))["result"]
    assert isinstance(found, dict)
    return found


async def test_a_book_has_one_unit_at_each_tick_around_the_price(sandbox: SandboxClient) -> None:
    book = await result(sandbox, "orderbook", **BTC, limit=2)
    assert (book["b"], book["a"]) == ([["100.00", "1"], ["99.99", "1"]], [["100.01", "1"], ["100.02", "1"]])


async def test_each_bar_that_has_ended_is_one_trade(sandbox: SandboxClient) -> None:
    await sandbox.step(2)
    newest, older = rows(await sandbox.get(None, "/v5/market/recent-trade", **BTC))
    assert (newest["price"], newest["size"], newest["time"]) == ("101", "35", str(FIRST + 2 * HOUR - 1))
    assert older["time"] == str(FIRST + HOUR - 1)


async def test_the_band_is_one_percent_around_the_price(sandbox: SandboxClient) -> None:
    band = await result(sandbox, "price-limit", **BTC)
    assert (band["buyLmt"], band["sellLmt"]) == ("101", "99")


async def test_contracts_have_pages() -> None:
    market = Market({name: hourly_bars(2) for name in ("AUSDT", "BUSDT", "CUSDT")})
    async with serve(market) as sandbox:
        first = await sandbox.get(None, "/v5/market/instruments-info", category="linear", limit=2)
        assert [row["symbol"] for row in rows(first)] == ["AUSDT", "BUSDT"]
        query = {"category": "linear", "limit": 2, "cursor": cursor_of(first)}
        second = await sandbox.get(None, "/v5/market/instruments-info", **query)
        assert ([row["symbol"] for row in rows(second)], cursor_of(second)) == (["CUSDT"], "")
        account = await sandbox.open_account()
        assert len(rows(await sandbox.get(account, "/v5/account/instruments-info", category="linear"))) == 3


@pytest.mark.parametrize("category", ["spot", "inverse", "option"])
async def test_other_categories_have_no_contracts(sandbox: SandboxClient, category: str) -> None:
    for path in ("instruments-info", "tickers"):
        assert (await result(sandbox, path, category=category))["list"] == []
    assert (await sandbox.get(None, "/v5/market/tickers", category="other"))["retCode"] == 10001


async def test_the_filters_shown_are_the_filters_applied() -> None:
    instruments = {"BTCUSDT": Instrument(tick_size="0.5", min_order_qty="2", symbol_type="innovation")}
    async with serve(Market({"BTCUSDT": hourly_bars()}), instruments) as sandbox:
        await sandbox.step()
        account = await sandbox.open_account()
        (shown,) = rows(await sandbox.get(None, "/v5/market/instruments-info", category="linear"))
        assert shown["symbolType"] == "innovation"
        assert (await buy(sandbox, account, qty="1"))["retCode"] == 10001
        assert (await buy(sandbox, account, qty="2"))["retCode"] == 0


async def test_books_and_trades_are_pushed(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with aiohttp.ClientSession() as http:
        async with http.ws_connect(f"{sandbox.stream_url}/v5/public/linear") as socket:
            topics = ["orderbook.1.BTCUSDT", "publicTrade.BTCUSDT"]
            await socket.send_json({"op": "subscribe", "req_id": "1", "args": topics})
            assert (await socket.receive_json())["success"] is True
            first = await socket.receive_json()
            assert (first["topic"], first["data"]["b"]) == (topics[0], [["100.00", "1"]])
            await sandbox.step()
            trade, book = await socket.receive_json(), await socket.receive_json()
            assert (trade["topic"], trade["data"][0]["p"]) == (topics[1], "101")
            assert (book["topic"], book["type"]) == (topics[0], "snapshot")
