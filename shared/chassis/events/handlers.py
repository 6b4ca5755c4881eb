"""What a service hears, and readers that read every partition without a group."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from shared.chassis.clock import utc_now
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.decoding import Received, decode_record
from shared.chassis.events.fetch import fetch
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Event, MarketEvent, Message
from shared.contracts.types import to_ms

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=MarketEvent)

MAX_RECORDS = 1_000
FETCH_WAIT_MS = 200
STOP_TIMEOUT_S = 5
STOP_TRIES = 10

log = structlog.get_logger()


def groups_of(service: str) -> tuple[str, str]:
    """The consumer groups of a service: of its events, and of the market's."""
    return service, f"{service}-market"


@dataclass(frozen=True)
class EventHandler(Generic[E]):
    """`handle` gets events new to the inbox, in order per key, in one transaction that sees their tenants.

    `versioned`: of a state that is applied only if its version is higher, so that no version may leap.
    """

    event: type[E]
    handle: Callable[[Connection, Sequence[E]], Awaitable[None]]
    versioned: Versioned | None = None


@dataclass(frozen=True)
class MarketEventHandler(Generic[M]):
    """`handle` opens its own transactions, may see an event again, and is idempotent by the bar's key."""

    event: type[M]
    handle: Callable[[Sequence[M]], Awaitable[None]]


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave, bounded in time, whatever the broker does; where that fails, at least the connections are closed."""
    if not await _through(consumer.stop(), consumer):
        await _through(consumer._client.close(), consumer)


async def _through(work: Coroutine[None, None, None], consumer: AIOKafkaConsumer) -> bool:
    """In a task of its own: aiokafka cancels its tasks while it stops, and what awaits them ends as cancelled.

    Its fetcher swallows being cancelled while it is between two assignments, and has to be told again.
    """
    task = asyncio.create_task(work)
    try:
        for _ in range(STOP_TRIES):
            await asyncio.wait([task], timeout=STOP_TIMEOUT_S / STOP_TRIES)
            if task.done():
                break
            if consumer._fetcher is not None:
                consumer._fetcher._fetch_task.cancel()
    finally:
        task.cancel()
    done = task.done() and not task.cancelled()
    error = task.exception() if done else None
    if not done or error is not None:
        log.warning("consumer_stop", error=repr(error))
    return done and error is None


async def partitions_of(kafka: KafkaAccess | str, topics: Sequence[str]) -> list[TopicPartition]:
    """Every partition of these topics. Raises KafkaError, also for a topic that is not there."""
    admin = AIOKafkaAdminClient(**client_options(kafka))
    try:
        async with asyncio.timeout(10):
            await admin.start()
            described = await admin.describe_topics(list(topics))
    finally:
        await admin.close()
    for topic in described:
        if topic["error_code"]:
            raise for_code(topic["error_code"])(f"topic {topic['topic']}")
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in described
        for partition in topic["partitions"]
    ]


class PartitionReader:
    """Reads every partition of some topics without a group, from their end, their beginning or so far back."""

    def __init__(
        self,
        kafka: KafkaAccess | str,
        topic_prefix: str,
        events: Sequence[type[Message]],
        *,
        from_end: bool,
        reaching_back: timedelta | None = None,
    ) -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._topics = [event.topic for event in events]
        self._from_end = from_end
        self._reaching_back = reaching_back
        self._consumer: AIOKafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Fix where to read from: whatever is said from now on will be read. Raises KafkaError."""
        consumer = AIOKafkaConsumer(
            **client_options(self._kafka),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            fetch_max_wait_ms=FETCH_WAIT_MS,
        )
        self._consumer = consumer
        await consumer.start()
        partitions = await partitions_of(self._kafka, [self._prefix + topic for topic in self._topics])
        consumer.assign(partitions)
        self._ends = await consumer.end_offsets(partitions)
        since = await self._offsets_since(consumer, partitions)
        for partition in partitions:
            if (offset := since.get(partition)) is not None:
                consumer.seek(partition, offset)
            elif self._from_end or self._reaching_back is not None:
                consumer.seek(partition, self._ends[partition])
            else:
                await consumer.seek_to_beginning(partition)

    async def _offsets_since(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, int]:
        """Of the first message of each partition that is not older than what is asked for, where there is one."""
        if self._reaching_back is None:
            return {}
        since_ms = to_ms(utc_now() - self._reaching_back)
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, since_ms))
        return {partition: at.offset for partition, at in found.items() if at is not None}

    async def read(self, timeout_ms: int = FETCH_WAIT_MS) -> list[Received]:
        """What has come, in order per partition; empty after the time-out. Raises KafkaError.

        What is no event has a fault, and is for the caller to set aside (`MarketInbox`).
        """
        assert self._consumer is not None, "start() first"
        batches = await fetch(self._consumer, timeout_ms=timeout_ms, max_records=MAX_RECORDS)
        return [
            decode_record(partition.topic.removeprefix(self._prefix), record)
            for partition, records in batches.items()
            for record in records
        ]

    async def caught_up(self) -> bool:
        """Whether everything that was there at the start has been read."""
        assert self._consumer is not None, "start() first"
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return False
        return True

    async def stop(self) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer)
            self._consumer = None
