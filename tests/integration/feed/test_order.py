"""What the feed says of a market that behaves: each bar once, ascending, in a chain, stored before it is said."""

import pytest

from sandbox.bybit.replay import Candle
from services.trading.feed.series_feed import BARS_WIDENED
from shared.contracts.market import CandleClosed
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, chain, said
from tests.integration.feed.exchange import FIRST_MS, MINUTE_MS, candles

TWO = {"BTCUSDT": candles(range(12)), "ETHUSDT": candles(range(3, 15))}
HOLED = {"BTCUSDT": candles([0, 1, 2, 6, 7])}
FLAT = Candle(FIRST_MS + MINUTE_MS, "1001.25", "1001.25", "1001.25", "1001.25", "0")
ODD = Candle(
    FIRST_MS + MINUTE_MS, "1001.5", "1001.25", "1001.75", "1001.25", "3"
)  # encloses neither open nor close
ODDLY = {"BTCUSDT": [*candles([0]), ODD, *candles([2, 3])]}
QUIET = {"BTCUSDT": [*candles([0]), FLAT, *candles([2, 3])]}
LONG = {"BTCUSDT": candles(range(3_300))}


async def test_each_bar_opens_and_closes_once_in_a_chain(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        for _ in range(10):
            await scene.exchange.step()
        seen = await said(producer, 19)
        assert seen == chain(*range(10))[:-1]


async def test_a_bar_is_stored_before_it_is_said(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(6)
        await said(producer, 11)
        unsaid = "SELECT count(*) FROM candles WHERE announced_at IS NULL"
        await eventually(lambda: scene.see(unsaid), lambda rows: rows[0]["count"] == 0)
        assert await scene.stored() == [0, 1, 2, 3, 4]


async def test_prices_are_those_of_the_exchange_to_the_last_digit(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await said(producer, 3)
        (closed,) = [event for event in producer.said if isinstance(event, CandleClosed)]
        prices = (closed.open, closed.high, closed.low, closed.close, closed.volume)
        assert [str(price) for price in prices] == ["1000.5", "1003", "998", "1001.25", "0.125"]
        (stored,) = await scene.see("SELECT open, high, low, close, volume FROM candles")
        assert tuple(stored) == prices
        (instrument,) = await scene.see("SELECT symbol, tick_size FROM instruments")
        assert (instrument["symbol"], str(instrument["tick_size"])) == ("BTCUSDT", "0.25")


@pytest.mark.parametrize("scene", [ODDLY], indirect=True)
async def test_a_bar_that_does_not_enclose_its_open_and_close_is_widened(scene: FeedScene) -> None:
    before = _widened()
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(4)
        await said(producer, 5)
        closed = [event for event in producer.said if isinstance(event, CandleClosed)][1]
        assert [str(price) for price in (closed.open, closed.high, closed.low, closed.close)] == [
            "1001.5",
            "1001.75",
            "1001.25",
            "1001.25",
        ]
        stored = (await scene.see("SELECT open, high, low, close FROM candles ORDER BY open_time"))[1]
        assert tuple(stored) == (closed.open, closed.high, closed.low, closed.close)
    assert _widened() == before + 1


def _widened() -> float:
    return float(BARS_WIDENED.labels("BTCUSDT")._value.get())


@pytest.mark.parametrize("scene", [HOLED], indirect=True)
async def test_a_hole_in_the_market_is_no_bar(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        for _ in range(7):
            await scene.exchange.step()
        assert await said(producer, 10) == chain(0, 1, 2, 6, 7)


@pytest.mark.parametrize("scene", [QUIET], indirect=True)
async def test_a_bar_without_trades_is_said_as_the_exchange_has_it(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(4)
        assert (await said(producer, 7))[:6] == chain(0, 1, 2)
        closed = [event for event in producer.said if isinstance(event, CandleClosed)]
        flat = [str(value) for value in (closed[1].open, closed[1].high, closed[1].close, closed[1].volume)]
        assert flat == ["1001.25", "1001.25", "1001.25", "0"]


@pytest.mark.parametrize("scene", [TWO], indirect=True)
async def test_symbols_are_said_side_by_side_each_in_its_order(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    await scene.wish("ETHUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT", "ETHUSDT")
        await scene.exchange.step(16)
        await said(producer, 48)
    on_topic = await scene.on_topics()
    assert len(on_topic) == len({received.event_id for received in on_topic}) == 48
    assert {received.key for received in on_topic} == {"bybit:BTCUSDT", "bybit:ETHUSDT"}


@pytest.mark.parametrize("scene", [LONG], indirect=True)
async def test_history_is_stored_and_not_said_and_the_anchor_is_its_first_bar(scene: FeedScene) -> None:
    await scene.exchange.step(3_250)
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step()
        seen = await said(producer, 3)
        assert seen[0] == ("opened", 3_249, 3_248)
        assert [each for each in seen if each[0] == "closed"] == [("closed", 3_249, 3_248)]
    rows = await scene.see(
        "SELECT origin, count(*), min(open_time) AS first FROM candles GROUP BY origin ORDER BY 1"
    )
    assert rows[0]["origin"] == "HISTORY"
    assert rows[0]["count"] >= 3_000
    (series,) = await scene.see("SELECT anchor, generation FROM series")
    assert (series["anchor"], series["generation"]) == (rows[0]["first"], 1)


async def test_a_symbol_the_exchange_does_not_know_disturbs_nobody(scene: FeedScene) -> None:
    await scene.wish("NOSUCH")
    await scene.wish("BTCUSDT")
    await scene.wish("BTCUSDT", interval="7")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(3)
        assert await said(producer, 5) == chain(0, 1, 2)[:-1]


async def test_the_next_feed_goes_on_where_the_last_one_stopped(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as first:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(4)
        await said(first, 7)
    await scene.exchange.step(3)
    async with scene.feed() as second:
        await scene.subscribed("BTCUSDT")
        assert await said(second, 7) == chain(3, 4, 5, 6, after=2)[:-1]
    assert await scene.stored() == list(range(6))
