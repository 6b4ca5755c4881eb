"""Sends a service's outbox to Kafka."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from typing import TypeAlias

import asyncpg
import structlog
from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from pydantic_core import from_json

from shared.chassis import telemetry
from shared.chassis.crash_points import point
from shared.chassis.events.cluster import KnownCluster
from shared.chassis.events.outbox import BUCKETS
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.contracts.catalog import HALTING

BATCH = 500  # rows per transaction
SHARES = 2  # while the database serves one share of the buckets, the broker receives the rows of the other
POLL_S = 0.1  # for rows of other processes, and for buckets that another relay holds
RETRY_S = 0.5
MEASURE_EVERY_S = 5.0
LONG_TRANSACTION_S = 60.0
MAX_PAYLOAD_BYTES = 900_000  # the broker's limit is 1 MiB with headers
MAX_HEADERS_CHARACTERS = 30_000
DEAD_LETTERS = ".dlq"

Lane: TypeAlias = tuple[str, str]  # topic and key
Sendable: TypeAlias = list[tuple[asyncpg.Record, Outgoing]]
Dead: TypeAlias = list[tuple[asyncpg.Record, str]]  # with the reason

log = structlog.get_logger()


class _NeverSendableError(Exception):
    """The row can never be sent, for the reason in the message."""


class Relay:
    """Sends unsent rows, several buckets at a time.

    Advisory locks hold buckets for one transaction, so no two relays send rows of one key at once. Rows are
    sent in the order of their ids and are selected by being unsent, not by being above the last id sent, as that
    would skip a row whose transaction commits late. A row that can never be sent is marked dead; if its topic
    halts, the later rows of its key wait behind it for an operator.
    """

    def __init__(self, database: Database, producer: Producer, cluster: KnownCluster) -> None:
        self._database = database
        self._producer = producer
        self._cluster = cluster
        self._measured_at = -MEASURE_EVERY_S
        self._is_behind_another = False

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set, then once more."""
        while not stop.is_set():
            try:
                sent = await self._pass()
            except (*INFRASTRUCTURE_FAULTS, KafkaError) as error:
                log.warning("relay_retries", error=repr(error))
                await pause(stop, RETRY_S)
                continue
            if not sent and self._is_behind_another:
                await pause(stop, POLL_S)
            elif not sent:
                await self._database.until_filled("outbox", stop, POLL_S)
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
        """Send one batch of each share of the buckets with unsent rows. Returns the number of rows sent."""
        self._is_behind_another = False
        async with self._database.queue_by_index() as connection:
            waiting = await _list_waiting(connection)
        if not waiting or not await self._may_send():
            return 0
        shares = [waiting[first::SHARES] for first in range(min(SHARES, len(waiting)))]
        done = await asyncio.gather(*(self._send_share(share) for share in shares), return_exceptions=True)
        for error in done:
            if isinstance(error, BaseException):
                raise error
        return sum(sent for sent in done if isinstance(sent, int))

    async def _may_send(self) -> bool:
        """Return whether the broker is the one that this outbox was sent to before."""
        cluster_id = await self._producer.connect()
        return (await self._cluster.compare(cluster_id)).cluster_id == cluster_id

    async def _send_share(self, buckets: Sequence[int]) -> int:
        async with self._database.queue_by_index() as connection:
            held = await _lock_buckets(connection, buckets)
            self._is_behind_another |= len(held) < len(buckets)
            rows = await _fetch_rows(connection, held) if held else []
            point("relay.after_rows_read")
            sent, dead = await self._send(rows)
            point("relay.after_ack")
            await _mark_sent(connection, sent)
            await _mark_dead(connection, dead)
            point("relay.after_mark")
        point("relay.after_commit")
        for topic, count in Counter([row["topic"] for row in sent]).items():
            telemetry.EVENTS_SENT.labels(topic).inc(count)
        for row, reason in dead:
            telemetry.EVENTS_DEAD.labels(row["topic"]).inc()
            log.error("outbox_row_dead", event_id=str(row["event_id"]), topic=row["topic"], reason=reason)
        return len(sent)

    async def _send(self, rows: Sequence[asyncpg.Record]) -> tuple[list[asyncpg.Record], Dead]:
        """Send the rows together, or one by one if the broker refuses one as too large. Raises KafkaError."""
        sendable, dead = _split_sendable(rows)
        try:
            await self._producer.send([message for _, message in sendable])
        except MessageSizeTooLargeError:
            return await self._send_singly(sendable, dead)
        return [row for row, _ in sendable], dead

    async def _send_singly(self, sendable: Sendable, dead: Dead) -> tuple[list[asyncpg.Record], Dead]:
        sent = []
        halted = {_lane(row) for row, _ in dead}
        for row, message in sendable:
            if row["topic"] in HALTING and _lane(row) in halted:
                continue
            try:
                await self._producer.send([message])
            except MessageSizeTooLargeError:
                dead.append((row, "larger than the broker accepts"))
                halted.add(_lane(row))
            else:
                sent.append(row)
        return sent, dead

    async def _measure(self) -> None:
        """Measure how many rows wait and since when, and how long the oldest transaction has been open: a long one
        slows every relay down."""
        async with self._database.queue_by_index() as connection:
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


WAITING = """
    SELECT bucket FROM generate_series(0, $1::int - 1) AS bucket, LATERAL (
        SELECT FROM outbox WHERE outbox.bucket = bucket.bucket AND sent_at IS NULL AND dead_reason IS NULL LIMIT 1
    ) AS unsent
"""
NEXT = """
    WITH halted AS MATERIALIZED (
        SELECT topic, key, min(id) AS id FROM outbox
        WHERE dead_reason IS NOT NULL AND dropped_at IS NULL AND topic = ANY ($3::text[])
        GROUP BY topic, key
    )
    SELECT waiting.* FROM unnest($1::smallint[]) AS held (bucket), LATERAL (
        SELECT bucket, id, event_id, topic, key, headers::text, payload FROM outbox
        WHERE bucket = held.bucket AND sent_at IS NULL AND dead_reason IS NULL
              AND NOT EXISTS (SELECT FROM halted WHERE (halted.topic, halted.key) = (outbox.topic, outbox.key)
                                                       AND halted.id < outbox.id)
        ORDER BY id LIMIT $2
    ) AS waiting
"""
MARK = """
    UPDATE outbox SET sent_at = now()
    WHERE bucket = ANY ($1::smallint[]) AND id = ANY ($2::bigint[]) AND sent_at IS NULL AND dead_reason IS NULL
"""


async def _list_waiting(connection: Connection) -> list[int]:
    """Return the buckets with unsent rows."""
    return [row["bucket"] for row in await connection.fetch(WAITING, BUCKETS)]


async def _lock_buckets(connection: Connection, buckets: Sequence[int]) -> list[int]:
    """Hold those buckets that no other relay holds, until the transaction ends, and return them."""
    rows = await connection.fetch(
        "SELECT bucket, lock_outbox_bucket(bucket) AS is_held FROM unnest($1::integer[]) AS bucket", buckets
    )
    return [row["bucket"] for row in rows if row["is_held"]]


async def _fetch_rows(connection: Connection, held: Sequence[int]) -> list[asyncpg.Record]:
    """Return the next rows of these buckets, in order per bucket. Must begin after the locks were taken, so that it
    sees what their previous holder has sent."""
    rows: list[asyncpg.Record] = await connection.fetch(NEXT, held, BATCH // len(held), list(HALTING))
    return rows


def _split_sendable(rows: Sequence[asyncpg.Record]) -> tuple[Sendable, Dead]:
    """Split rows into those that can be sent and those that never can. On a topic that halts, rows behind a dead
    one of their key are in neither."""
    sendable: Sendable = []
    dead: Dead = []
    halted: set[Lane] = set()
    for row in rows:
        if halted and row["topic"] in HALTING and _lane(row) in halted:
            continue
        try:
            sendable.append((row, _message(row)))
        except _NeverSendableError as error:
            dead.append((row, str(error)))
            halted.add(_lane(row))
    return sendable, dead


def _lane(row: asyncpg.Record) -> Lane:
    return row["topic"], row["key"]


def _message(row: asyncpg.Record) -> Outgoing:
    """Return the message of a row. Dead letters are sent with any body, as received. Raises _NeverSendableError."""
    topic, key, payload, headers = row["topic"], row["key"], row["payload"], row["headers"]
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _NeverSendableError(f"its body of {len(payload)} bytes is larger than {MAX_PAYLOAD_BYTES}")
    if len(headers) > MAX_HEADERS_CHARACTERS:
        raise _NeverSendableError("its headers are too large")
    try:
        texts = from_json(headers)
        "".join(texts.values())
    except (AttributeError, TypeError, ValueError):
        raise _NeverSendableError("its headers are not texts") from None
    if not topic.endswith(DEAD_LETTERS):
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise _NeverSendableError("its body is not UTF-8") from None
    return Outgoing(topic, key, texts, payload)


async def _mark_sent(connection: Connection, rows: Sequence[asyncpg.Record]) -> None:
    if rows:
        await connection.execute(MARK, list({row["bucket"] for row in rows}), [row["id"] for row in rows])


async def _mark_dead(connection: Connection, dead: Dead) -> None:
    for row, reason in dead:
        await connection.execute(
            """
            UPDATE outbox SET dead_reason = $3
            WHERE bucket = $1 AND id = $2 AND sent_at IS NULL AND dead_reason IS NULL
            """,
            row["bucket"],
            row["id"],
            reason,
        )
