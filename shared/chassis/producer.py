"""Sending to Kafka, bounded in time: a producer that hangs is thrown away."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, KafkaTimeoutError

from shared.chassis.clock import utc_now
from shared.chassis.kafka_headers import Headers, headers_of, to_wire
from shared.contracts.envelope import MarketEvent

START_TIMEOUT_S = 10
SEND_TIMEOUT_S = 10
STOP_TIMEOUT_S = 3

log = structlog.get_logger()


@dataclass(frozen=True)
class Outgoing:
    topic: str
    key: str
    headers: Headers
    payload: bytes


class Producer:
    """An idempotent producer, made when first needed and made anew after a time-out."""

    def __init__(self, bootstrap: str, topic_prefix: str = "", source: str = "") -> None:
        self._bootstrap = bootstrap
        self._prefix = topic_prefix
        self._source = source
        self._producer: AIOKafkaProducer | None = None
        self._starting = asyncio.Lock()

    async def send(self, messages: Sequence[Outgoing], refusals: tuple[type[Exception], ...] = ()) -> list[int]:
        """Send in order and wait until all are acknowledged; the indexes of those refused for good.

        Raises KafkaError when the broker does not answer in time; what was sent is then unknown.
        """
        if not messages:
            return []
        producer = await self._started()
        refused: list[int] = []
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                acks = []
                for index, message in enumerate(messages):
                    try:
                        acks.append(await self._hand_over(producer, message))
                    except refusals:
                        refused.append(index)
                await asyncio.gather(*acks)
        except TimeoutError as error:
            await self.discard()
            raise KafkaTimeoutError("the broker did not acknowledge in time") from error
        except KafkaError:
            await self.discard()
            raise
        return refused

    async def publish(self, events: Sequence[MarketEvent]) -> None:
        """Send facts of the market, in order; their ids follow from what they say. Raises KafkaError."""
        now = utc_now()
        await self.send(
            [
                Outgoing(
                    event.topic,
                    event.key(),
                    headers_of(event, str(event.event_id()), self._source, now),
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
            if self._producer is None:
                producer = AIOKafkaProducer(
                    bootstrap_servers=self._bootstrap,
                    acks="all",
                    enable_idempotence=True,
                    linger_ms=0,
                    compression_type=None,
                    request_timeout_ms=5_000,
                )
                try:
                    async with asyncio.timeout(START_TIMEOUT_S):
                        await producer.start()
                except BaseException:
                    await _stop(producer)
                    raise
                self._producer = producer
            return self._producer

    async def discard(self) -> None:
        """Throw the producer away, however it is; the next send makes a new one."""
        producer, self._producer = self._producer, None
        if producer is not None:
            await _stop(producer)

    stop = discard


async def _stop(producer: AIOKafkaProducer) -> None:
    try:
        async with asyncio.timeout(STOP_TIMEOUT_S):
            await producer.stop()
    except (KafkaError, TimeoutError, OSError) as error:
        log.warning("producer_thrown_away", error=repr(error))
