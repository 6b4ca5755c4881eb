"""Without faults, each bar is published once, in ascending order and linked, and stored before that."""

import pytest

from sandbox.bybit.replay import Candle
from services.trading.feed.series_feed import BARS_WIDENED
from shared.contracts.market import CandleClosed
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, chain, until_published
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


async def test_each_bar_opens_and_closes_once_linked_to_the_one_before(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        for _ in range(10):
            await scene.exchange.step()
        seen = await until_published(producer, 19)
        assert seen == chain(*range(10))[:-1]


async def test_a_bar_is_stored_before_it_is_published(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(6)
        await until_published(producer, 11)
        unannounced = "SELECT count(*) FROM candles WHERE announced_at IS NULL"
        await eventually(lambda: scene.fetch(unannounced), lambda rows: rows[0]["count"] == 0)
        assert await scene.stored_minutes() == [0, 1, 2, 3, 4]


async def test_prices_equal_the_exchanges_to_the_last_digit(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await until_published(producer, 3)
        (closed,) = [event for event in producer.published if isinstance(event, CandleClosed)]
        prices = (closed.open, closed.high, closed.low, closed.close, closed.volume)
        assert [str(price) for price in prices] == ["1000.5", "1003", "998", "1001.25", "0.125"]
        (stored,) = await scene.fetch("SELECT open, high, low, close, volume FROM candles")
        assert tuple(stored) == prices
        (instrument,) = await scene.fetch("SELECT symbol, tick_size FROM instruments")
        assert (instrument["symbol"], str(instrument["tick_size"])) == ("BTCUSDT", "0.25")


@pytest.mark.parametrize("scene", [ODDLY], indirect=True)
async def test_a_bar_that_does_not_enclose_its_open_and_close_is_widened(scene: FeedScene) -> None:
    before = _widened()
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(4)
        await until_published(producer, 5)
        closed = [event for event in producer.published if isinstance(event, CandleClosed)][1]
        assert [str(price) for price in (closed.open, closed.high, closed.low, closed.close)] == [
            "1001.5",
            "1001.75",
            "1001.25",
            "1001.25",
        ]
        stored = (await scene.fetch("SELECT open, high, low, close FROM candles ORDER BY open_time"))[1]
        assert tuple(stored) == (closed.open, closed.high, closed.low, closed.close)
    assert _widened() == before + 1


def _widened() -> float:
    return float(BARS_WIDENED.labels("BTCUSDT")._value.get())


@pytest.mark.parametrize("scene", [HOLED], indirect=True)
async def test_a_gap_in_the_market_has_no_bars(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        for _ in range(7):
            await scene.exchange.step()
        assert await until_published(producer, 10) == chain(0, 1, 2, 6, 7)


@pytest.mark.parametrize("scene", [QUIET], indirect=True)
async def test_a_bar_without_trades_is_published_as_the_exchange_has_it(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(4)
        assert (await until_published(producer, 7))[:6] == chain(0, 1, 2)
        closed = [event for event in producer.published if isinstance(event, CandleClosed)]
        flat = [str(value) for value in (closed[1].open, closed[1].high, closed[1].close, closed[1].volume)]
        assert flat == ["1001.25", "1001.25", "1001.25", "0"]


@pytest.mark.parametrize("scene", [TWO], indirect=True)
async def test_symbols_are_published_independently_each_in_order(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    await scene.demand("ETHUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT", "ETHUSDT")
        await scene.exchange.step(16)
        await until_published(producer, 48)
    on_topic = await scene.read_topics()
    assert len(on_topic) == len({received.event_id for received in on_topic}) == 48
    assert {received.key for received in on_topic} == {"bybit:BTCUSDT", "bybit:ETHUSDT"}


@pytest.mark.parametrize("scene", [LONG], indirect=True)
async def test_history_is_stored_but_not_published_and_its_first_bar_is_the_anchor(scene: FeedScene) -> None:
    await scene.exchange.step(3_250)
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step()
        seen = await until_published(producer, 3)
        assert seen[0] == ("opened", 3_249, 3_248)
        assert [each for each in seen if each[0] == "closed"] == [("closed", 3_249, 3_248)]
    rows = await scene.fetch(
        "SELECT origin, count(*), min(open_time) AS first FROM candles GROUP BY origin ORDER BY 1"
    )
    assert rows[0]["origin"] == "HISTORY"
    assert rows[0]["count"] >= 3_000
    (series,) = await scene.fetch("SELECT anchor, generation FROM series")
    assert (series["anchor"], series["generation"]) == (rows[0]["first"], 1)


async def test_an_unknown_symbol_does_not_affect_the_others(scene: FeedScene) -> None:
    await scene.demand("NOSUCH")
    await scene.demand("BTCUSDT")
    await scene.demand("BTCUSDT", interval="7")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(3)
        assert await until_published(producer, 5) == chain(0, 1, 2)[:-1]


async def test_the_next_feed_continues_where_the_last_one_stopped(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as first:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(4)
        await until_published(first, 7)
    await scene.exchange.step(3)
    async with scene.feed() as second:
        await scene.until_subscribed("BTCUSDT")
        assert await until_published(second, 7) == chain(3, 4, 5, 6, after=2)[:-1]
    assert await scene.stored_minutes() == list(range(6))
