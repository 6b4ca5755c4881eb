"""Sends to Kafka with time limits; a producer that hangs, or whose broker was replaced, is discarded."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.producer.message_accumulator import BatchBuilder

from shared.chassis.clock import utc_now
from shared.chassis.events.aiokafka_api import close_without_flushing, cluster_id_of, producer_id_of
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.cluster import ClusterChangedError
from shared.chassis.events.headers import Headers, headers_of, to_wire
from shared.contracts.envelope import MarketEvent

START_TIMEOUT_S = 10
SEND_TIMEOUT_S = 10
# Longer than a send may take, so that no batch expires while a later one of its partition is still sent.
BATCH_LIFE_MS = 20_000
BATCH_BYTES = 128 * 2**10  # a larger message gets a batch of its own
CLOSE_TIMEOUT_S = 3
USED_IDS_KEPT = 1_000

log = structlog.get_logger()


class Outgoing(NamedTuple):
    topic: str
    key: str
    headers: Headers
    payload: bytes


Batch: TypeAlias = tuple[str, int, BatchBuilder]  # topic, partition, records


class Producer:
    """An idempotent producer, created when first needed and recreated after any fault."""

    def __init__(self, kafka: KafkaAccess | str, topic_prefix: str = "", source: str = "") -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._cluster_id = ""
        # An emptied broker assigns producer ids from the beginning. If a new producer got an id that an earlier one
        # of ours had used on that broker, the broker would acknowledge its first sends and discard them as
        # duplicates.
        self._used_ids: deque[int] = deque(maxlen=USED_IDS_KEPT)
        self._starting = asyncio.Lock()

    async def connect(self) -> str:
        """Return the id of the connected cluster. Raises KafkaError."""
        await self._ensure_started()
        return self._cluster_id

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send in order and wait until all are acknowledged.

        Raises KafkaError if the broker refuses a message, does not answer in time, or has changed; it is then
        unknown which messages were sent.
        """
        if not messages:
            return
        producer = await self._ensure_started()
        async with _within(SEND_TIMEOUT_S, "the broker did not acknowledge in time", self._discard, producer):
            batches = await self._pack(producer, messages)
            await asyncio.gather(
                *[
                    await producer.send_batch(batch, topic, partition=partition)
                    for topic, partition, batch in batches
                ]
            )
            if (cluster_id := await cluster_id_of(producer)) != self._cluster_id:
                raise ClusterChangedError(f"cluster {cluster_id} answers for {self._cluster_id}")

    async def publish(self, events: Sequence[MarketEvent]) -> None:
        """Send market events in order; their ids are derived from their content. Raises KafkaError."""
        now = utc_now()
        await self.send(
            [
                Outgoing(
                    event.topic,
                    event.key(),
                    headers_of(event, str(event.event_id()), self._source or event.source, now),
                    event.model_dump_json().encode(),
                )
                for event in events
            ]
        )

    async def _pack(self, producer: AIOKafkaProducer, messages: Sequence[Outgoing]) -> list[Batch]:
        """Pack messages into batches of one partition each, which keep their order. A message sent by itself costs
        a future and its callbacks, three times as much as its bytes."""
        topics = {message.topic for message in messages}
        partitions = {topic: len(await producer.partitions_for(self._prefix + topic)) for topic in topics}
        batches: list[Batch] = []
        filling: dict[tuple[str, int], BatchBuilder] = {}
        for topic, key, headers, payload in messages:
            key_bytes = key.encode()
            partition = _partition_of(key_bytes, partitions[topic])
            record = {"timestamp": None, "key": key_bytes, "value": payload, "headers": to_wire(headers)}
            batch = filling.get((topic, partition))
            if batch is None or batch.append(**record) is None:
                filling[topic, partition] = batch = producer.create_batch()
                batches.append((self._prefix + topic, partition, batch))
                batch.append(**record)
        return batches

    async def _ensure_started(self) -> AIOKafkaProducer:
        async with self._starting:
            while self._producer is None:
                producer, cluster_id = await self._start()
                if producer_id_of(producer) in self._used_ids:
                    await _abandon(producer)
                else:
                    self._producer, self._cluster_id = producer, cluster_id
            return self._producer

    async def _start(self) -> tuple[AIOKafkaProducer, str]:
        producer = AIOKafkaProducer(
            **client_options(self._kafka),
            acks="all",
            enable_idempotence=True,
            linger_ms=0,
            compression_type=None,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=BATCH_LIFE_MS,
            metadata_max_age_ms=30_000,
        )
        async with _within(START_TIMEOUT_S, "the broker does not answer", _abandon, producer):
            await producer.start()
            return producer, await cluster_id_of(producer)

    async def discard(self) -> None:
        """Discard the producer and its buffers; the next send creates a new one."""
        if self._producer is not None:
            await self._discard(self._producer)

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        """Discard this producer. Does nothing if it was replaced already, as when two concurrent sends fail."""
        is_current = self._producer is producer
        if is_current:
            self._producer = None
            self._used_ids.append(producer_id_of(producer))
            await _abandon(producer)

    async def stop(self) -> None:
        """Stop at the end of the process. Every send was awaited, so the buffers are empty."""
        await self.discard()


@lru_cache(maxsize=50_000)
def _partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that every Kafka client chooses for this key."""
    partition: int = DefaultPartitioner()(key, range(partitions), range(partitions))
    return partition


@asynccontextmanager
async def _within(
    seconds: float, late: str, give_up: Callable[[AIOKafkaProducer], Awaitable[None]], producer: AIOKafkaProducer
) -> AsyncIterator[None]:
    """Use the producer for at most these seconds, and give it up after any fault or a cancellation, as the state of
    its buffers is then unknown. Raises KafkaTimeoutError with the text `late`."""
    async with AsyncExitStack() as on_fault:
        on_fault.push_async_callback(give_up, producer)
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise KafkaTimeoutError(late) from error
        on_fault.pop_all()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """Close the producer without flushing: `stop()` would continue to send, concurrently with the next producer."""
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await close_without_flushing(producer)
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("producer_discarded", error=repr(error))
