"""A series with too few bars for a strategy gets a new generation; sessions on the old one stay on it."""

from datetime import timedelta

import asyncpg
import pytest

from shared.contracts.market import CandleClosed, CandleOpened
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import (
    BarEvent,
    FeedScene,
    RecordingProducer,
    chain,
    minute_of,
    until_published,
)
from tests.integration.feed.exchange import candles

DEEP = {"BTCUSDT": candles(range(4_700))}
SHORT = {"BTCUSDT": candles(range(40))}
LONG_AGO = timedelta(minutes=11)  # so old that demand keeps only the generations it names
SERIES = """SELECT generation, reach, anchor, count(open_time) AS bars
            FROM series LEFT JOIN candles USING (series_id) GROUP BY series_id ORDER BY generation"""
DIFFERING = """SELECT count(*) AS n FROM candles a JOIN candles b USING (open_time)
               WHERE a.series_id < b.series_id
                     AND (a.open, a.high, a.low, a.close, a.volume) <> (b.open, b.high, b.low, b.close, b.volume)"""


def of_generation(producer: RecordingProducer, generation: int) -> list[BarEvent]:
    events = [each for each in producer.published if isinstance(each, CandleOpened | CandleClosed)]
    return [minute_of(each) for each in events if each.generation == generation]


async def until_closed(producer: RecordingProducer, generation: int, minute: int) -> list[BarEvent]:
    """Wait until this bar of a generation closed, and return the events of the generation."""

    async def look() -> list[BarEvent]:
        return of_generation(producer, generation)

    return await eventually(look, lambda events: ("closed", minute) in {each[:2] for each in events}, 60)


async def generations(scene: FeedScene, count: int) -> list[asyncpg.Record]:
    return await eventually(lambda: scene.fetch(SERIES), lambda rows: len(rows) == count, 60)


@pytest.mark.parametrize("scene", [DEEP], indirect=True)
async def test_older_bars_are_fetched_into_a_new_generation_and_both_continue(scene: FeedScene) -> None:
    await scene.exchange.step(4_601)
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await until_published(producer, 1)
        (first,) = await generations(scene, 1)
        await scene.demand("BTCUSDT", version=2, history_bars=4_300, generations=(1,))
        old, new = await generations(scene, 2)
        assert (old["anchor"], old["bars"]) == (first["anchor"], first["bars"])
        assert new["bars"] == 4_600 > old["bars"] >= 3_000
        assert new["reach"] == 6_000
        await scene.exchange.step(3)
        for generation in (1, 2):
            events = await until_closed(producer, generation, 4_602)
            assert events[: len(chain(4_600, 4_601, 4_602))] == chain(4_600, 4_601, 4_602, after=4_599)
    assert (await scene.fetch(DIFFERING))[0]["n"] == 0


@pytest.mark.parametrize("scene", [SHORT], indirect=True)
async def test_an_exchange_without_older_bars_is_queried_once_and_the_series_stays(scene: FeedScene) -> None:
    await scene.exchange.step(5)
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.demand("BTCUSDT", version=2, history_bars=5_000)
        reached = await eventually(lambda: scene.fetch(SERIES), lambda rows: rows[0]["reach"] == 5_000, 60)
        assert len(reached) == 1
        await scene.exchange.step(2)
        assert await until_closed(producer, 1, 5)


@pytest.mark.parametrize("scene", [DEEP], indirect=True)
async def test_a_new_series_begins_with_the_demanded_history(scene: FeedScene) -> None:
    await scene.exchange.step(4_601)
    await scene.demand("BTCUSDT", history_bars=4_300)
    async with scene.feed():
        await scene.until_subscribed("BTCUSDT")
    (series,) = await scene.fetch(SERIES)
    assert (series["generation"], series["bars"], series["reach"]) == (1, 4_600, 6_000)


@pytest.mark.parametrize("scene", [DEEP], indirect=True)
async def test_an_unused_generation_is_not_published_and_misses_nothing_when_used_again(
    scene: FeedScene,
) -> None:
    await scene.exchange.step(4_601)
    await scene.demand("BTCUSDT", ago=LONG_AGO)
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.demand("BTCUSDT", version=2, history_bars=4_300, ago=LONG_AGO)
        await generations(scene, 2)
        await scene.exchange.step(3)
        await until_closed(producer, 2, 4_602)
        assert "closed" not in {kind for kind, *_ in of_generation(producer, 1)}
        await scene.demand("BTCUSDT", version=3, history_bars=4_300, generations=(1,), ago=LONG_AGO)
        events = await until_closed(producer, 1, 4_602)
        closed = [each for each in events if each[0] == "closed"]
        assert closed == chain(4_600, 4_601, 4_602, after=4_599)[1::2]
        await scene.exchange.step(2)
        events = await until_closed(producer, 1, 4_604)
        last = events.index(chain(4_604, after=4_603)[-1])
        assert events[last - 3 : last + 1] == [*chain(4_603, after=4_602), *chain(4_604, after=4_603)]


@pytest.mark.parametrize("scene", [DEEP], indirect=True)
async def test_a_feed_that_takes_over_continues_every_demanded_generation(scene: FeedScene) -> None:
    await scene.exchange.step(4_601)
    await scene.demand("BTCUSDT", generations=(1,))
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.demand("BTCUSDT", version=2, history_bars=4_300, generations=(1,))
        await generations(scene, 2)
        await scene.exchange.step(2)
        await until_closed(producer, 2, 4_601)
    await scene.exchange.step(2)
    async with scene.feed() as successor:
        for generation in (1, 2):
            events = await until_closed(successor, generation, 4_603)
            assert [each for each in events if each[0] == "closed"] == chain(4_602, 4_603, after=4_601)[1::2]
