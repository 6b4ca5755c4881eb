"""What a service says: a row beside the change it speaks of, sent on by a relay."""

import asyncio
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from shared.chassis import telemetry
from shared.chassis.clock import utc_now
from shared.chassis.kafka_headers import Headers, headers_of
from shared.chassis.pausing import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.chassis.producer import Outgoing, Producer
from shared.contracts.envelope import Event, Message
from shared.contracts.types import new_id

BUCKETS = 8
BATCH = 500
IDLE_S = 0.05
MAX_PAYLOAD_BYTES = 900_000  # the broker's limit is 1 MiB with headers
NOBODY = 0

log = structlog.get_logger()


async def emit(connection: Connection, *events: Event, source: str | None = None) -> None:
    """Say these, in this order, if and when this transaction commits."""
    moment = utc_now()
    await insert_outgoing(
        connection,
        [
            OutboxRow(event.user_id, event.topic, event.key(), *serialise(event, source or event.source, moment))
            for event in events
        ],
    )


@dataclass(frozen=True)
class OutboxRow:
    user_id: int
    topic: str
    key: str
    event_id: str
    headers: Headers
    payload: bytes


def serialise(event: Message, source: str, moment: datetime) -> tuple[str, Headers, bytes]:
    """The event's id, headers and value."""
    event_id = str(new_id())
    return event_id, headers_of(event, event_id, source, moment), event.model_dump_json().encode()


async def insert_outgoing(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Write outbox rows as one statement, their order kept by their ids."""
    if not rows:
        return
    await connection.execute(
        """
        INSERT INTO outbox (user_id, bucket, event_id, topic, key, headers, payload)
        SELECT user_id, bucket, event_id, topic, key, headers, payload
        FROM unnest($1::bigint[], $2::smallint[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[],
                    $7::bytea[]) WITH ORDINALITY
             AS row (user_id, bucket, event_id, topic, key, headers, payload, position)
        ORDER BY position
        """,
        [row.user_id for row in rows],
        [bucket_of(row.key) for row in rows],
        [row.event_id for row in rows],
        [row.topic for row in rows],
        [row.key for row in rows],
        [row.headers for row in rows],
        [row.payload for row in rows],
    )


def bucket_of(key: str) -> int:
    """Which bucket a key's rows wait in; the same for ever."""
    return zlib.crc32(key.encode()) % BUCKETS


class Relay:
    """Sends a service's outbox to Kafka.

    A bucket is held by an advisory lock for one transaction, so no two relays work on one key at once. Rows
    go in the order of their ids, and by what is unsent, never by what is beyond the last id: a transaction
    that was slow to commit is not overtaken for ever.
    """

    def __init__(self, database: Database, producer: Producer) -> None:
        self._database = database
        self._producer = producer

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then what is waiting is sent once more."""
        while not stop.is_set():
            sent = await self._pass_safely()
            if not sent:
                await pause(stop, IDLE_S)
        await self._pass_safely()

    async def _pass_safely(self) -> int:
        try:
            return await self.send_waiting()
        except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
            log.warning("relay_retries", error=repr(error))
            await self._producer.discard()
            await asyncio.sleep(0.5)
            return 0

    async def send_waiting(self) -> int:
        """One pass over the buckets that have something to send; the number of rows sent."""
        async with self._database.queue() as connection:
            waiting = await connection.fetch(
                """
                SELECT bucket, count(*) AS rows FROM outbox
                WHERE sent_at IS NULL AND dead_reason IS NULL GROUP BY bucket
                """
            )
        telemetry.OUTBOX_WAITING.set(sum(row["rows"] for row in waiting))
        return sum([await self._send_bucket(row["bucket"]) for row in waiting])

    async def _send_bucket(self, bucket: int) -> int:
        async with self._database.queue() as connection:
            held = await connection.fetchval(
                "SELECT pg_try_advisory_xact_lock(hashtext(current_schema() || '.outbox'), $1::int)", bucket
            )
            if not held:
                return 0
            rows = await connection.fetch(
                """
                SELECT user_id, id, topic, key, headers, payload FROM outbox
                WHERE bucket = $1 AND sent_at IS NULL AND dead_reason IS NULL ORDER BY id LIMIT $2
                """,
                bucket,
                BATCH,
            )
            sendable = [row for row in rows if len(row["payload"]) <= MAX_PAYLOAD_BYTES]
            too_large = [row for row in rows if len(row["payload"]) > MAX_PAYLOAD_BYTES]
            refused = await self._producer.send(
                [Outgoing(row["topic"], row["key"], row["headers"], row["payload"]) for row in sendable],
                refusals=(MessageSizeTooLargeError,),
            )
            dead = [*too_large, *(sendable[index] for index in refused)]
            dead_ids = {row["id"] for row in dead}
            sent = [row for row in sendable if row["id"] not in dead_ids]
            await _mark_sent(connection, [(row["user_id"], row["id"]) for row in sent])
            await _mark_dead(
                connection, [(row["user_id"], row["id"]) for row in dead], "larger than the broker takes"
            )
        for row in sent:
            telemetry.EVENTS_SENT.labels(row["topic"]).inc()
        for row in dead:
            telemetry.EVENTS_DEAD.labels(row["topic"]).inc()
            log.error("outbox_row_dead", outbox_id=row["id"], topic=row["topic"])
        return len(sent)


async def _mark_sent(connection: Connection, keys: Sequence[tuple[int, int]]) -> None:
    await connection.execute(
        """
        UPDATE outbox SET sent_at = now() FROM unnest($1::bigint[], $2::bigint[]) AS done (user_id, id)
        WHERE outbox.user_id = done.user_id AND outbox.id = done.id
        """,
        [user_id for user_id, _ in keys],
        [row_id for _, row_id in keys],
    )


async def _mark_dead(connection: Connection, keys: Sequence[tuple[int, int]], reason: str) -> None:
    if keys:
        await connection.execute(
            """
            UPDATE outbox SET dead_reason = $3 FROM unnest($1::bigint[], $2::bigint[]) AS dead (user_id, id)
            WHERE outbox.user_id = dead.user_id AND outbox.id = dead.id
            """,
            [user_id for user_id, _ in keys],
            [row_id for _, row_id in keys],
            reason,
        )
