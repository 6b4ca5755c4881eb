"""A member is stuck only when its lag grows and it reads nothing."""

import asyncio
import time

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import NodeNotReadyError

from shared.chassis.events.watchdog import StuckError, Watchdog

PARTITION = TopicPartition("trade.closed", 0)
STUCK_AFTER_S = 0.2


class FakeConsumer:
    """Implements only what the watchdog calls."""

    def __init__(self) -> None:
        self.end = 10
        self.at: int | None = 10
        self.unavailable = False
        self.topics = {"trade.closed": {0}}

    def assignment(self) -> set[TopicPartition]:
        return {PARTITION}

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return self.topics.get(topic)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        if self.unavailable:
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


async def test_a_member_that_reads_nothing_while_its_lag_grows_is_stuck(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    with pytest.raises(StuckError, match=r"trade\.closed/0: lag"):
        await look_for(watchdog, consumer, grow=1)


async def test_a_member_without_a_position_is_stuck(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    consumer.at = None
    with pytest.raises(StuckError):
        await look_for(watchdog, consumer, grow=1)


async def test_a_long_idle_member_is_not_stuck_when_a_record_arrives(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    await look_for(watchdog, consumer, grow=0)
    consumer.end += 1
    await asyncio.sleep(STUCK_AFTER_S / 4)
    await watchdog.check()


async def test_a_member_that_has_read_everything_is_not_stuck(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    await look_for(watchdog, consumer, grow=0)


async def test_a_member_whose_lag_does_not_grow_is_not_stuck(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    consumer.end = 20
    await look_for(watchdog, consumer, grow=0)


async def test_a_member_that_keeps_retrying_is_not_stuck(
    watchdog: Watchdog, consumer: FakeConsumer, active_at: dict[TopicPartition, float]
) -> None:
    for _ in range(10):
        consumer.end += 1
        active_at[PARTITION] = time.monotonic()
        await asyncio.sleep(STUCK_AFTER_S / 5)
        await watchdog.check()


async def test_an_unavailable_broker_does_not_make_a_member_stuck(
    watchdog: Watchdog, consumer: FakeConsumer
) -> None:
    consumer.unavailable = True
    await look_for(watchdog, consumer, grow=1)


def test_a_deleted_topic_is_reported(watchdog: Watchdog, consumer: FakeConsumer) -> None:
    assert watchdog.fault() == ""
    consumer.topics.clear()
    assert watchdog.fault() == "there is no topic trade.closed"
