"""Faults of the stream, the exchange and the feed: no bar is lost, none is published as two events."""

import asyncio
import signal
from contextlib import AsyncExitStack
from decimal import Decimal
from uuid import UUID

import pytest

from shared.chassis.events.decoding import Received
from shared.contracts.envelope import MarketEvent
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, chain, minute_of, until_published
from tests.integration.feed.exchange import candles

ENDING = {"BTCUSDT": candles(range(6)), "ETHUSDT": candles(range(30))}
LONG = {"BTCUSDT": candles(range(2_600))}


def ids_by_fact(received: list[Received]) -> dict[tuple[str, int], set[UUID]]:
    """Return the event ids under which each fact was published."""
    ids: dict[tuple[str, int], set[UUID]] = {}
    for each in received:
        assert isinstance(each.event, MarketEvent)
        assert each.event_id is not None
        ids.setdefault(minute_of(each.event)[:2], set()).add(each.event_id)
    return ids


def facts(*minutes: int) -> set[tuple[str, int]]:
    return {(kind, minute) for kind, minute, _ in chain(*minutes)}


async def test_bars_the_stream_skips_are_fetched_before_it_continues(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(3)
        await until_published(producer, 5)
        await scene.exchange.fault("mute")
        await scene.exchange.step(4)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await until_published(producer, 15) == chain(*range(8))[:-1]


async def test_a_first_bar_the_stream_skips_is_still_the_anchor(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.fault("mute")
        await scene.exchange.step(2)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await until_published(producer, 5) == chain(0, 1, 2)[:-1]


@pytest.mark.parametrize("scene", [LONG], indirect=True)
async def test_a_gap_of_thousands_of_bars_is_closed_page_by_page(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await until_published(producer, 3)
        await scene.exchange.fault("mute")
        await scene.exchange.step(2_500)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await until_published(producer, 5_005) == chain(*range(2_503))[:-1]


async def test_dropped_connections_are_restored_and_missed_bars_published(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await until_published(producer, 3)
        await scene.exchange.fault("drop")
        await scene.exchange.step(2)
        await until_published(producer, 7)
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step()
        assert await until_published(producer, 9) == chain(*range(5))[:-1]


async def test_the_feed_waits_for_an_exchange_that_refuses_connections(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.feed() as producer:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await until_published(producer, 3)
        await scene.exchange.stop()
        refused = producer.published.copy()
        await scene.exchange.start()
        await scene.exchange.step(3)
        assert refused == producer.published[: len(refused)]
        assert await until_published(producer, 9) == chain(*range(5))[:-1]


@pytest.mark.parametrize(("moment", "lost"), [("before", True), ("after", False)])
async def test_a_feed_killed_between_storing_and_publishing_loses_nothing(
    scene: FeedScene, moment: str, lost: bool
) -> None:
    await scene.demand("BTCUSDT")
    async with scene.dying_feed(moment, minute=2) as process:
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(4)
        assert await asyncio.wait_for(process.wait(), 90) == -signal.SIGKILL
    assert await scene.stored_minutes() == [0, 1, 2]
    (unmarked,) = await scene.fetch("SELECT count(*) FROM candles WHERE announced_at IS NULL")
    assert unmarked["count"] >= 1  # bars caught up together are marked together
    assert (("closed", 2) not in ids_by_fact(await scene.read_topics())) == lost
    # One successor waits for the dead feed's lease to expire, the other leads without a lease.
    async with scene.feed() if lost else scene.leading_feed() as producer:
        await until_published(producer, 3)
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step()
        await eventually(scene.stored_minutes, lambda minutes: minutes == [0, 1, 2, 3], 60)
        await until_published(producer, 5)
    ids = ids_by_fact(await scene.read_topics())
    assert ids.keys() == facts(0, 1, 2, 3) | {("opened", 4)}
    assert all(len(of_fact) == 1 for of_fact in ids.values())


async def test_two_feeds_at_once_publish_the_same_events(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with scene.leading_feed() as first, scene.leading_feed() as second:
        await scene.exchange.step()
        await until_published(first, 1)
        await until_published(second, 1)
        for _ in range(11):
            await scene.exchange.step()
        await until_published(first, 23)
        await until_published(second, 23)
    received = await scene.read_topics()
    ids = ids_by_fact(received)
    assert len(received) > len(ids)
    assert ids.keys() == facts(*range(11)) | {("opened", 11)}
    assert all(len(of_fact) == 1 for of_fact in ids.values())
    bodies = {(each.event_id, each.event.previous_open_time) for each in received}  # type: ignore[union-attr]
    assert len(bodies) == len(ids)


async def test_a_standby_feed_takes_over(scene: FeedScene) -> None:
    await scene.demand("BTCUSDT")
    async with AsyncExitStack() as until_stopped:
        leader = await until_stopped.enter_async_context(scene.feed())
        await scene.until_subscribed("BTCUSDT")
        async with scene.feed() as standing_by:
            await scene.exchange.step(3)
            await until_published(leader, 5)
            assert standing_by.published == []
            await until_stopped.aclose()
            await scene.exchange.step(2)
            assert await until_published(standing_by, 5) == [*chain(2, 3, after=1), ("opened", 4, 3)]
    assert await scene.stored_minutes() == [0, 1, 2, 3]


async def test_a_confirmed_bar_that_differs_later_is_an_alarm_and_changes_nothing(scene: FeedScene) -> None:
    await scene.exchange.step(1)
    async with scene.series() as series:
        series.receive(0, confirmed=False)
        series.receive(0, confirmed=True)
        series.receive(0, confirmed=True)
        series.receive(0, confirmed=True, close="1.5")
        series.receive(1, confirmed=False)
        assert await until_published(series.producer, 3) == chain(0, 1)[:-1]
        assert series.alarms == 1
    (stored,) = await scene.fetch("SELECT close FROM candles")
    assert stored["close"] == Decimal("1001.25")


async def test_a_bar_that_another_feed_stored_is_published_as_stored(scene: FeedScene) -> None:
    await scene.exchange.step(1)
    async with scene.series() as first, scene.series() as second:
        first.receive(0, confirmed=True)
        await until_published(first.producer, 2)
        second.receive(0, confirmed=True, close="1.5")
        await until_published(second.producer, 2)
        assert first.producer.published[1].model_dump_json() == second.producer.published[1].model_dump_json()


async def test_a_bar_confirmed_without_an_open_event_opens_first(scene: FeedScene) -> None:
    async with scene.series() as series:
        series.receive(0, confirmed=True)
        assert await until_published(series.producer, 2) == chain(0)


async def test_late_and_repeated_updates_are_not_published_again(scene: FeedScene) -> None:
    async with scene.series() as series:
        for minute, confirmed in ((0, False), (0, False), (0, True), (1, False), (0, False), (0, True), (1, True)):
            series.receive(minute, confirmed=confirmed)
        series.receive(2, confirmed=False)
        assert await until_published(series.producer, 5) == chain(0, 1, 2)[:-1]


@pytest.mark.parametrize("scene", [ENDING], indirect=True)
async def test_a_silent_stream_is_detected_by_rest_and_renewed(scene: FeedScene) -> None:
    async with scene.series(quiet_s=0.1) as series:
        await scene.exchange.step(1)
        series.receive(0, confirmed=True)
        await until_published(series.producer, 2)
        await scene.exchange.step(20)
        assert await until_published(series.producer, 12) == chain(*range(6))
        assert await series.until_renewed() == ["renewed"]
