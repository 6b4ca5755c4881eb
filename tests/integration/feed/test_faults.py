"""What the feed says when stream, exchange, or the feed itself break: nothing lost, and nothing new said twice."""

import asyncio
import signal
from contextlib import AsyncExitStack
from decimal import Decimal
from uuid import UUID

import pytest

from shared.chassis.events.decoding import Received
from shared.contracts.envelope import MarketEvent
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, chain, minute_of, said
from tests.integration.feed.exchange import candles

ENDING = {"BTCUSDT": candles(range(6)), "ETHUSDT": candles(range(30))}
LONG = {"BTCUSDT": candles(range(2_600))}


def distinct(received: list[Received]) -> dict[tuple[str, int], set[UUID]]:
    """The ids under which each fact was said."""
    ids: dict[tuple[str, int], set[UUID]] = {}
    for each in received:
        assert isinstance(each.event, MarketEvent)
        assert each.event_id is not None
        ids.setdefault(minute_of(each.event)[:2], set()).add(each.event_id)
    return ids


def facts(*minutes: int) -> set[tuple[str, int]]:
    return {(kind, minute) for kind, minute, _ in chain(*minutes)}


async def test_bars_the_stream_skips_are_fetched_before_it_goes_on(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(3)
        await said(producer, 5)
        await scene.exchange.fault("mute")
        await scene.exchange.step(4)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await said(producer, 15) == chain(*range(8))[:-1]


async def test_a_first_bar_the_stream_skips_is_the_anchor_all_the_same(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.fault("mute")
        await scene.exchange.step(2)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await said(producer, 5) == chain(0, 1, 2)[:-1]


@pytest.mark.parametrize("scene", [LONG], indirect=True)
async def test_a_gap_of_thousands_of_bars_is_closed_page_by_page(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await said(producer, 3)
        await scene.exchange.fault("mute")
        await scene.exchange.step(2_500)
        await scene.exchange.fault("speak")
        await scene.exchange.step()
        assert await said(producer, 5_005) == chain(*range(2_503))[:-1]


async def test_dropped_connections_come_back_and_what_was_missed_is_said(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await said(producer, 3)
        await scene.exchange.fault("drop")
        await scene.exchange.step(2)
        await said(producer, 7)
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step()
        assert await said(producer, 9) == chain(*range(5))[:-1]


async def test_an_exchange_that_refuses_connections_for_a_while_is_waited_for(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.feed() as producer:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(2)
        await said(producer, 3)
        await scene.exchange.go_down()
        refused = producer.said.copy()
        await scene.exchange.come_up()
        await scene.exchange.step(3)
        assert refused == producer.said[: len(refused)]
        assert await said(producer, 9) == chain(*range(5))[:-1]


@pytest.mark.parametrize(("moment", "lost"), [("before", True), ("after", False)])
async def test_a_feed_killed_between_storing_and_saying_loses_nothing(
    scene: FeedScene, moment: str, lost: bool
) -> None:
    await scene.wish("BTCUSDT")
    async with scene.dying_feed(moment, minute=2) as process:
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(4)
        assert await asyncio.wait_for(process.wait(), 90) == -signal.SIGKILL
    assert await scene.stored() == [0, 1, 2]
    (unmarked,) = await scene.see("SELECT count(*) FROM candles WHERE announced_at IS NULL")
    assert unmarked["count"] >= 1  # what was caught up together is marked together
    assert (("closed", 2) not in distinct(await scene.on_topics())) == lost
    # One successor waits until the dead one's lease is over, the other does not ask for it.
    async with scene.feed() if lost else scene.leading() as producer:
        await said(producer, 3)
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step()
        await eventually(scene.stored, lambda minutes: minutes == [0, 1, 2, 3], 60)
        await said(producer, 5)
    ids = distinct(await scene.on_topics())
    assert ids.keys() == facts(0, 1, 2, 3) | {("opened", 4)}
    assert all(len(of_fact) == 1 for of_fact in ids.values())


async def test_two_feeds_that_speak_at_once_say_the_same(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with scene.leading() as first, scene.leading() as second:
        await scene.exchange.step()
        await said(first, 1)
        await said(second, 1)
        for _ in range(11):
            await scene.exchange.step()
        await said(first, 23)
        await said(second, 23)
    received = await scene.on_topics()
    ids = distinct(received)
    assert len(received) > len(ids)
    assert ids.keys() == facts(*range(11)) | {("opened", 11)}
    assert all(len(of_fact) == 1 for of_fact in ids.values())
    bodies = {(each.event_id, each.event.previous_open_time) for each in received}  # type: ignore[union-attr]
    assert len(bodies) == len(ids)


async def test_another_feed_stands_by_and_takes_over(scene: FeedScene) -> None:
    await scene.wish("BTCUSDT")
    async with AsyncExitStack() as until_stopped:
        leader = await until_stopped.enter_async_context(scene.feed())
        await scene.subscribed("BTCUSDT")
        async with scene.feed() as standing_by:
            await scene.exchange.step(3)
            await said(leader, 5)
            assert standing_by.said == []
            await until_stopped.aclose()
            await scene.exchange.step(2)
            assert await said(standing_by, 5) == [*chain(2, 3, after=1), ("opened", 4, 3)]
    assert await scene.stored() == [0, 1, 2, 3]


async def test_a_confirmed_bar_that_comes_again_otherwise_is_an_alarm_and_changes_nothing(scene: FeedScene) -> None:
    await scene.exchange.step(1)
    async with scene.series() as series:
        series.hear(0, confirmed=False)
        series.hear(0, confirmed=True)
        series.hear(0, confirmed=True)
        series.hear(0, confirmed=True, close="1.5")
        series.hear(1, confirmed=False)
        assert await said(series.producer, 3) == chain(0, 1)[:-1]
        assert series.alarms == 1
    (stored,) = await scene.see("SELECT close FROM candles")
    assert stored["close"] == Decimal("1001.25")


async def test_what_another_feed_has_stored_is_what_is_said(scene: FeedScene) -> None:
    await scene.exchange.step(1)
    async with scene.series() as first, scene.series() as second:
        first.hear(0, confirmed=True)
        await said(first.producer, 2)
        second.hear(0, confirmed=True, close="1.5")
        await said(second.producer, 2)
        assert first.producer.said[1].model_dump_json() == second.producer.said[1].model_dump_json()


async def test_a_bar_confirmed_without_having_been_announced_opens_first(scene: FeedScene) -> None:
    async with scene.series() as series:
        series.hear(0, confirmed=True)
        assert await said(series.producer, 2) == chain(0)


async def test_what_comes_late_or_twice_is_not_said_again(scene: FeedScene) -> None:
    async with scene.series() as series:
        for minute, confirmed in ((0, False), (0, False), (0, True), (1, False), (0, False), (0, True), (1, True)):
            series.hear(minute, confirmed=confirmed)
        series.hear(2, confirmed=False)
        assert await said(series.producer, 5) == chain(0, 1, 2)[:-1]


@pytest.mark.parametrize("scene", [ENDING], indirect=True)
async def test_a_stream_that_is_up_and_silent_is_noticed_by_rest_and_renewed(scene: FeedScene) -> None:
    async with scene.series(quiet_s=0.1) as series:
        await scene.exchange.step(1)
        series.hear(0, confirmed=True)
        await said(series.producer, 2)
        await scene.exchange.step(20)
        assert await said(series.producer, 12) == chain(*range(6))
        assert await series.renewed() == ["renewed"]
