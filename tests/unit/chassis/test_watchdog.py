"""A member is called stuck when the broker has more and more and it reads nothing, and only then."""

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError

from shared.chassis.events.watchdog import StuckError, Watchdog

PARTITION = TopicPartition("trade.closed", 0)
STUCK_AFTER_S = 0.2


class FakeConsumer:
    """Only what the watchdog asks."""

    def __init__(self) -> None:
        self.end = 10
        self.at: int | None = 10
        self.away = False
        self.topics = {"trade.closed": {0}}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.topics.get(topic)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if self.away:
            raise NodeNotReadyError
        return dict.fromkeys(partitions, self.end)

    async def position(self, _: TopicPartition) -> int:
        if self.at is None:
            raise NodeNotReadyError
        return self.at


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
def active_at() -> dict[TopicPartition, float]:
    return {PARTITION: time.monotonic()}


@pytest.fixture
def watchdog(consumer: FakeConsumer, active_at: dict[TopicPartition, float]) -> Watchdog:
    return Watchdog(consumer, "analytics", ["trade.closed"], active_at, STUCK_AFTER_S)


async def look_for(watchdog: Watchdog, consumer: FakeConsumer, grow: int) -> None:
    for _ in range(10):
        consumer.end += grow
        await asyncio.sleep(STUCK_AFTER_S / 5)
        await watchdog.check()


async def test_one_that_reads_nothing_while_its_lag_grows_is_stuck(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    with pytest.raises(StuckError, match=r"trade\.closed/0: lag"):
        await look_for(watchdog, consumer, grow=1)


async def test_one_that_does_not_know_where_it_stands_is_stuck_too(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    consumer.at = None
    with pytest.raises(StuckError):
        await look_for(watchdog, consumer, grow=1)


async def test_one_that_had_nothing_to_read_for_long_is_not_stuck_when_something_comes(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    await look_for(watchdog, consumer, grow=0)
    consumer.end += 1
    await asyncio.sleep(STUCK_AFTER_S / 4)
    await watchdog.check()


async def test_one_that_has_read_everything_is_not(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    await look_for(watchdog, consumer, grow=0)


async def test_one_whose_lag_does_not_grow_is_not(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    consumer.end = 20
    await look_for(watchdog, consumer, grow=0)


async def test_one_that_tries_again_and_again_is_not(
    watchdog: Watchdog, consumer: FakeConsumer, active_at: dict[TopicPartition, float]
) -> None:
    for _ in range(10):
        consumer.end += 1
        active_at[PARTITION] = time.monotonic()
        await asyncio.sleep(STUCK_AFTER_S / 5)
        await watchdog.check()


async def test_a_broker_that_is_away_is_not_the_members_fault(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    consumer.away = True
    await look_for(watchdog, consumer, grow=1)


def test_a_topic_that_is_gone_is_told(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    assert watchdog.fault() == ""
    consumer.topics.clear()
    assert watchdog.fault() == "there is no topic trade.closed"
