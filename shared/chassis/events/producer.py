"""Sending to Kafka, bounded in time: a producer that hangs, or whose broker was replaced, is thrown away."""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from shared.chassis.clock import utc_now
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.cluster import ClusterChangedError, cluster_id_of
from shared.chassis.events.headers import Headers, headers_of, to_wire
from shared.contracts.envelope import MarketEvent

START_TIMEOUT_S = 10
SEND_TIMEOUT_S = 10
# Longer than a send may take: no batch is given up while a later one of its partition still goes out.
BATCH_LIFE_MS = 20_000
CLOSE_TIMEOUT_S = 3
USED_IDS_KEPT = 1_000

log = structlog.get_logger()


@dataclass(frozen=True)
class Outgoing:
    topic: str
    key: str
    headers: Headers
    payload: bytes


class Producer:
    """An idempotent producer, made when first needed and made anew after any fault."""

    def __init__(self, kafka: KafkaAccess | str, topic_prefix: str = "", source: str = "") -> None:
        self._kafka = kafka
        self._prefix = topic_prefix
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._cluster_id = ""
        # A broker that was emptied gives them out anew. What one of these has sent to it before that was noticed is
        # to the broker what the new one sends first: it would acknowledge that and throw it away.
        self._used_ids: deque[int] = deque(maxlen=USED_IDS_KEPT)
        self._starting = asyncio.Lock()

    async def connect(self) -> str:
        """The id of the cluster that is sent to. Raises KafkaError."""
        await self._started()
        return self._cluster_id

    async def send(self, messages: Sequence[Outgoing]) -> None:
        """Send in order and wait until all are acknowledged.

        Raises KafkaError when the broker refuses one, does not answer in time, or is another one than before;
        what was sent is then unknown.
        """
        if not messages:
            return
        producer = await self._started()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await asyncio.gather(*[await self._hand_over(producer, message) for message in messages])
                if (cluster_id := await cluster_id_of(producer.client)) != self._cluster_id:
                    raise ClusterChangedError(f"cluster {cluster_id} answers for {self._cluster_id}")
        except TimeoutError as error:
            await self._discard(producer)
            raise KafkaTimeoutError("the broker did not acknowledge in time") from error
        except BaseException:  # cancelled half-way as well: what is in its buffers is unknown
            await self._discard(producer)
            raise

    async def publish(self, events: Sequence[MarketEvent]) -> None:
        """Send facts of the market, in order; their ids follow from what they say. Raises KafkaError."""
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

    async def _hand_over(self, producer: AIOKafkaProducer, message: Outgoing) -> asyncio.Future[object]:
        future: asyncio.Future[object] = await producer.send(
            self._prefix + message.topic,
            value=message.payload,
            key=message.key.encode(),
            headers=to_wire(message.headers),
        )
        return future

    async def _started(self) -> AIOKafkaProducer:
        async with self._starting:
            while self._producer is None:
                producer, cluster_id = await self._start()
                if producer._txn_manager.producer_id in self._used_ids:
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
            request_timeout_ms=BATCH_LIFE_MS,
            metadata_max_age_ms=30_000,
        )
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                await producer.start()
                return producer, await cluster_id_of(producer.client)
        except TimeoutError as error:
            await _abandon(producer)
            raise KafkaTimeoutError("the broker does not answer") from error
        except BaseException:
            await _abandon(producer)
            raise

    async def discard(self) -> None:
        """Throw the producer away with what is in its buffers; the next send makes a new one."""
        if self._producer is not None:
            await self._discard(self._producer)

    async def _discard(self, producer: AIOKafkaProducer) -> None:
        """Two sends that fail together throw one away, and not also the one that was made since."""
        is_current = self._producer is producer
        if is_current:
            self._producer = None
            self._used_ids.append(producer._txn_manager.producer_id)
            await _abandon(producer)

    async def stop(self) -> None:
        """For the end of the process: every send was waited for, so nothing is in the buffers."""
        await self.discard()


async def _abandon(producer: AIOKafkaProducer) -> None:
    """End it without flushing: `stop()` would go on sending, behind the back of the producer made next."""
    producer._closed = True
    sender = producer._sender.sender_task if producer._sender is not None else None
    if sender is not None:
        sender.cancel()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await producer.client.close()
            if sender is not None:
                await asyncio.wait([sender])
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("producer_thrown_away", error=repr(error))
