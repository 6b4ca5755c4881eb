"""Sends a service's outbox to Kafka."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import asyncpg
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from shared.chassis import telemetry
from shared.chassis.crash_points import point
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import BUCKETS
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.catalog import HALTING

BATCH = 500
CONCURRENT_BUCKETS = 2  # while the database serves one, the broker receives the rows of the other
IDLE_S = 0.1
RETRY_S = 0.5
MEASURE_EVERY_S = 5.0
LONG_TRANSACTION_S = 60.0
MAX_PAYLOAD_BYTES = 900_000  # the broker's limit is 1 MiB with headers
MAX_HEADERS_CHARACTERS = 30_000
DEAD_LETTERS = ".dlq"

Lane: TypeAlias = tuple[str, str]  # topic and key
Dead: TypeAlias = list[tuple[asyncpg.Record, str]]  # with the reason

log = structlog.get_logger()


class Relay:
    """Sends unsent rows, bucket by bucket.

    An advisory lock holds a bucket for one transaction, so no two relays send rows of one key at once. Rows are
    sent in the order of their ids and are selected by being unsent, not by being above the last id sent, as that
    would skip a row whose transaction commits late. A row that can never be sent is marked dead; if its topic
    halts, the later rows of its key wait behind it for an operator.
    """

    def __init__(self, database: Database, producer: Producer, cluster: KnownCluster) -> None:
        self._database = database
        self._producer = producer
        self._cluster = cluster
        self._measured_at = -MEASURE_EVERY_S

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, then once more."""
        while not stop.is_set():
            try:
                sent = await self._pass()
            except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
                log.warning("relay_retries", error=repr(error))
                await pause(stop, RETRY_S)
                continue
            if not sent:
                await pause(stop, IDLE_S)
        try:
            await self._pass()
        except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
            log.warning("relay_leaves_rows", error=repr(error))

    async def _pass(self) -> int:
        if time.monotonic() - self._measured_at >= MEASURE_EVERY_S:
            self._measured_at = time.monotonic()
            await self._measure()
        return await self.send_waiting()

    async def send_waiting(self) -> int:
        """Send one batch of each bucket with unsent rows. Returns the number of rows sent."""
        async with self._database.queue() as connection:
            waiting = await connection.fetch(
                """
                SELECT bucket FROM generate_series(0, $1::int - 1) AS bucket
                WHERE EXISTS (SELECT FROM outbox WHERE outbox.bucket = bucket.bucket
                              AND sent_at IS NULL AND dead_reason IS NULL)
                """,
                BUCKETS,
            )
        if not waiting or not await self._may_send():
            return 0
        buckets = iter([row["bucket"] for row in waiting])
        done = await asyncio.gather(
            *(self._send_buckets(buckets) for _ in range(CONCURRENT_BUCKETS)), return_exceptions=True
        )
        for error in done:
            if isinstance(error, BaseException):
                raise error
        return sum(sent for sent in done if isinstance(sent, int))

    async def _send_buckets(self, buckets: Iterator[int]) -> int:
        return sum([await self._send_bucket(bucket) for bucket in buckets])

    async def _may_send(self) -> bool:
        """Return whether the broker is the one that this outbox was sent to before."""
        cluster_id = await self._producer.connect()
        return (await self._cluster.compare(cluster_id)).cluster_id == cluster_id

    async def _send_bucket(self, bucket: int) -> int:
        async with self._database.queue() as connection:
            rows = await _lock_rows(connection, bucket)
            point("relay.after_rows_read")
            sent, dead = await self._send(rows)
            point("relay.after_ack")
            await _mark_sent(connection, sent)
            await _mark_dead(connection, dead)
            point("relay.after_mark")
        point("relay.after_commit")
        for row in sent:
            telemetry.EVENTS_SENT.labels(row["topic"]).inc()
        for row, reason in dead:
            telemetry.EVENTS_DEAD.labels(row["topic"]).inc()
            log.error("outbox_row_dead", event_id=str(row["event_id"]), topic=row["topic"], reason=reason)
        return len(sent)

    async def _send(self, rows: Sequence[asyncpg.Record]) -> tuple[list[asyncpg.Record], Dead]:
        """Send the rows together, or one by one if the broker refuses one as too large. Raises KafkaError."""
        sendable, dead = _split_sendable(rows)
        try:
            await self._producer.send([_message(row) for row in sendable])
        except MessageSizeTooLargeError:
            return await self._send_singly(sendable, dead)
        return sendable, dead

    async def _send_singly(self, rows: Sequence[asyncpg.Record], dead: Dead) -> tuple[list[asyncpg.Record], Dead]:
        sent = []
        halted = {_lane(row) for row, _ in dead}
        for row in rows:
            if row["topic"] in HALTING and _lane(row) in halted:
                continue
            try:
                await self._producer.send([_message(row)])
            except MessageSizeTooLargeError:
                dead.append((row, "larger than the broker accepts"))
                halted.add(_lane(row))
            else:
                sent.append(row)
        return sent, dead

    async def _measure(self) -> None:
        """Measure how many rows wait and since when, and how long the oldest transaction has been open: a long one
        slows every relay down."""
        async with self._database.queue() as connection:
            row = await connection.fetchrow(
                """
                SELECT count(*) AS waiting,
                       coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 AS age_s,
                       oldest_transaction_seconds() AS open_s
                FROM outbox WHERE sent_at IS NULL AND dead_reason IS NULL
                """
            )
        telemetry.OUTBOX_WAITING.set(row["waiting"])
        telemetry.OUTBOX_OLDEST_S.set(row["age_s"])
        telemetry.OLDEST_TRANSACTION_S.set(row["open_s"])
        if row["open_s"] > LONG_TRANSACTION_S:
            log.error("long_transaction", seconds=round(row["open_s"]))


async def _lock_rows(connection: Connection, bucket: int) -> list[asyncpg.Record]:
    """Hold the bucket until the transaction ends and return its next rows; none if another relay holds it."""
    if not await connection.fetchval("SELECT lock_outbox_bucket($1)", bucket):
        return []
    rows: list[asyncpg.Record] = await connection.fetch(
        """
        SELECT event_id, topic, key, headers, payload FROM outbox AS waiting
        WHERE bucket = $1 AND sent_at IS NULL AND dead_reason IS NULL
              AND NOT EXISTS (SELECT FROM outbox AS dead
                              WHERE dead.topic = waiting.topic AND dead.key = waiting.key AND dead.id < waiting.id
                                    AND dead.dead_reason IS NOT NULL AND dead.dropped_at IS NULL
                                    AND dead.topic = ANY ($3::text[]))
        ORDER BY id LIMIT $2
        """,
        bucket,
        BATCH,
        list(HALTING),
    )
    return rows


def _split_sendable(rows: Sequence[asyncpg.Record]) -> tuple[list[asyncpg.Record], Dead]:
    """Split rows into those that can be sent and those that never can. On a topic that halts, rows behind a dead
    one of their key are in neither."""
    sendable: list[asyncpg.Record] = []
    dead: Dead = []
    halted: set[Lane] = set()
    for row in rows:
        if row["topic"] in HALTING and _lane(row) in halted:
            continue
        if reason := _dead_reason(row):
            dead.append((row, reason))
            halted.add(_lane(row))
        else:
            sendable.append(row)
    return sendable, dead


def _lane(row: asyncpg.Record) -> Lane:
    return row["topic"], row["key"]


def _dead_reason(row: asyncpg.Record) -> str:
    """Return why the row can never be sent, or an empty text. Dead letters are sent with any body, as received."""
    if len(row["payload"]) > MAX_PAYLOAD_BYTES:
        return f"its body of {len(row['payload'])} bytes is larger than {MAX_PAYLOAD_BYTES}"
    try:
        headers = "".join([part for header in row["headers"].items() for part in header])
    except (AttributeError, TypeError):
        return "its headers are not texts"
    if len(headers) > MAX_HEADERS_CHARACTERS:
        return "its headers are too large"
    if not row["topic"].endswith(DEAD_LETTERS):
        try:
            row["payload"].decode()
        except UnicodeDecodeError:
            return "its body is not UTF-8"
    return ""


def _message(row: asyncpg.Record) -> Outgoing:
    return Outgoing(row["topic"], row["key"], row["headers"], row["payload"])


async def _mark_sent(connection: Connection, rows: Sequence[asyncpg.Record]) -> None:
    if rows:
        await connection.execute(
            "UPDATE outbox SET sent_at = now() WHERE event_id = ANY ($1::uuid[])",
            [row["event_id"] for row in rows],
        )


async def _mark_dead(connection: Connection, dead: Dead) -> None:
    if dead:
        await connection.execute(
            """
            UPDATE outbox SET dead_reason = reason FROM unnest($1::uuid[], $2::text[]) AS dead (event_id, reason)
            WHERE outbox.event_id = dead.event_id
            """,
            [row["event_id"] for row, _ in dead],
            [reason for _, reason in dead],
        )
