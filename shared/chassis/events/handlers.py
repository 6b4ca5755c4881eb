"""Event handlers of a service, and a reader that reads every partition without a consumer group."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code

from shared.chassis.clock import utc_now
from shared.chassis.events.aiokafka_api import cancel_fetching, close_connections
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.decoding import Received, decode_records
from shared.chassis.events.fetch import fetch
from shared.chassis.events.plausible_versions import Versioned
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Event, MarketEvent, Message
from shared.contracts.types import to_ms

E = TypeVar("E", bound=Event)
M = TypeVar("M", bound=MarketEvent)

MAX_RECORDS = 1_000
# The broker answers as soon as there is a record, so waiting long delays none. What else a client asks on the same
# connection waits behind the fetch, so it must be shorter than the timeouts of those requests.
FETCH_WAIT_MS = 2_000
STOP_TIMEOUT_S = 5
STOP_TRIES = 10

log = structlog.get_logger()


def groups_of(service: str) -> tuple[str, str]:
    """Return the consumer groups of a service: the one for user events and the one for market events."""
    return service, f"{service}-market"


@dataclass(frozen=True)
class EventHandler(Generic[E]):
    """`handle` gets events that are new to the inbox, in order per key, in one transaction that sees their tenants.

    `versioned` is set for a state that is applied only if its version is higher, so that versions far ahead are
    refused.
    """

    event: type[E]
    handle: Callable[[Connection, Sequence[E]], Awaitable[None]]
    versioned: Versioned | None = None


@dataclass(frozen=True)
class MarketEventHandler(Generic[M]):
    """`handle` opens its own transactions, may get an event more than once, and is idempotent by the bar's key."""

    event: type[M]
    handle: Callable[[Sequence[M]], Awaitable[None]]


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Leave the group within a time limit; if that fails, close at least the connections."""
    if not await _finish(consumer.stop(), consumer):
        await _finish(close_connections(consumer), consumer)


async def _finish(work: Coroutine[None, None, None], consumer: AIOKafkaConsumer) -> bool:
    """Run `work` in its own task: aiokafka cancels its tasks while it stops, and what awaits them is cancelled too.

    Between two assignments aiokafka's fetcher swallows a cancellation, so it is cancelled repeatedly. Returns
    whether the work has finished without an error.
    """
    task = asyncio.create_task(work)
    try:
        for _ in range(STOP_TRIES):
            await asyncio.wait([task], timeout=STOP_TIMEOUT_S / STOP_TRIES)
            if task.done():
                break
            cancel_fetching(consumer)
    finally:
        task.cancel()
    done = task.done() and not task.cancelled()
    error = task.exception() if done else None
    if not done or error is not None:
        log.warning("consumer_stop", error=repr(error))
    return done and error is None


async def partitions_of(kafka: KafkaAccess | str, topics: Sequence[str]) -> list[TopicPartition]:
    """Return every partition of these topics. Raises KafkaError, also for a topic that does not exist."""
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
    """Reads every partition of some topics without a group: from the end, the beginning, or `reaching_back` ago, a
    time per topic."""

    def __init__(
        self,
        kafka: KafkaAccess | str,
        topic_prefix: str,
        events: Sequence[type[Message]],
        *,
        from_end: bool,
        reaching_back: Mapping[str, timedelta] | None = None,
    ) -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._topics = [event.topic for event in events]
        self._from_end = from_end
        self._reaching_back = reaching_back
        self._consumer: AIOKafkaConsumer | None = None
        self._ends: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Set the start positions; everything published from now on will be read. Raises KafkaError."""
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
        # Before the assignment, with which the first fetch begins: a request would wait behind it.
        self._ends = await consumer.end_offsets(partitions)
        begins = await self._beginnings(consumer, partitions)
        consumer.assign(partitions)
        for partition, offset in begins.items():
            consumer.seek(partition, offset)

    async def _beginnings(
        self, consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
    ) -> Mapping[TopicPartition, int]:
        """Return the offset at which to begin each partition."""
        if self._reaching_back is None:
            return self._ends if self._from_end else await consumer.beginning_offsets(partitions)
        now = utc_now()
        since = {self._prefix + topic: to_ms(now - back) for topic, back in self._reaching_back.items()}
        found = await consumer.offsets_for_times({each: since[each.topic] for each in partitions})
        return {**self._ends, **{partition: at.offset for partition, at in found.items() if at is not None}}

    async def read(self, timeout_ms: int = FETCH_WAIT_MS, stop: asyncio.Event | None = None) -> list[Received]:
        """Return the next records, in order per partition; empty after the timeout, or when `stop` is set. Raises
        KafkaError.

        A record that is not an event has a fault, and the caller has to park it (`MarketInbox`).
        """
        assert self._consumer is not None, "start() first"
        batches = await fetch(self._consumer, timeout_ms=timeout_ms, max_records=MAX_RECORDS, stop=stop)
        return [
            received
            for partition, records in batches.items()
            for received in decode_records(partition.topic.removeprefix(self._prefix), records)
        ]

    async def caught_up(self) -> bool:
        """Return whether all messages that existed at the start have been read."""
        assert self._consumer is not None, "start() first"
        for partition, end in self._ends.items():
            if await self._consumer.position(partition) < end:
                return False
        return True

    async def stop(self) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer)
            self._consumer = None
