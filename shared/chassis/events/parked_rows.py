"""Queries of the `parked` table: events that wait, and those that were given up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, TypeAlias
from uuid import NAMESPACE_OID, UUID, uuid5

import asyncpg

from shared.chassis.events.decoding import LONGEST_REASON, Received, bounded, event_id_of, storable
from shared.chassis.events.headers import Headers
from shared.chassis.events.outbox import OutboxRow
from shared.chassis.postgres import Connection, Database
from shared.contracts.envelope import Message
from shared.contracts.types import new_id

HEADS_BATCH = 100

# The states are explained in the migration (0002_event_days.sql).
State: TypeAlias = Literal["WAITING", "HALTED", "DEAD", "DROPPED"]


@dataclass(frozen=True)
class ParkedRow:
    user_id: int
    consumer: str
    event_id: UUID
    topic: str
    key: str
    headers: Headers
    payload: bytes
    partition: int
    offset: int
    state: State
    reason: str
    message_key: str | None = None
    needs_version: int | None = None
    is_replayed: bool = False

    @classmethod
    def of(cls, row: asyncpg.Record) -> "ParkedRow":
        return cls(
            row["user_id"],
            row["consumer"],
            row["event_id"],
            row["topic"],
            row["key"],
            row["headers"],
            row["payload"],
            row["kafka_partition"],
            row["kafka_offset"],
            row["state"],
            row["reason"],
            row["message_key"],
            row["needs_version"],
            row["replayed_at"] is not None,
        )

    def received(self, event: Message | None) -> Received:
        """Return the record as it was received, with the event id in its headers."""
        return Received(
            self.topic,
            self.partition,
            self.offset,
            self.kafka_key,
            event_id_of(self.headers) or self.event_id,
            self.headers,
            self.payload,
            event,
            self.reason,
            order_key=self.key,
        )

    @property
    def kafka_key(self) -> str:
        return self.key if self.message_key is None else self.message_key


def parked_row(consumer: str, record: Received, reason: str, state: State = "WAITING") -> ParkedRow:
    """Build the row of a record. The id of poison is derived from its position, as the id in its headers may belong
    to another event."""
    key = record.stored_order_key
    return ParkedRow(
        record.user_id,
        consumer,
        record.event_id if record.event is not None and record.event_id else _id_of_position(record),
        record.topic,
        key,
        _storable_headers(record.headers),
        record.payload,
        record.partition,
        record.offset,
        state,
        bounded(reason, LONGEST_REASON),
        None if record.key == key else storable(record.key),
        record.needs_version or None,
    )


def _storable_headers(headers: Headers) -> Headers:
    return {storable(name): storable(value) for name, value in headers.items()}


def _id_of_position(record: Received) -> UUID:
    """Return the same id when the record is read again, and another one for another record at the same position."""
    return uuid5(NAMESPACE_OID, f"{record.topic}/{record.partition}/{record.offset}/{record.body_sha256().hex()}")


async def find_keys_with_parked(
    connection: Connection, consumer: str, topic: str, keys: Collection[str]
) -> set[str]:
    """Return those of the keys that have waiting events."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT key FROM parked
        WHERE consumer = $1 AND topic = $2 AND key = ANY ($3::text[]) AND state IN ('WAITING', 'HALTED')
        """,
        consumer,
        topic,
        list(keys),
    )
    return {row["key"] for row in rows}


async def insert_parked(connection: Connection, rows: Sequence[ParkedRow]) -> set[UUID]:
    """Insert rows in this order, except events that are parked or handled already. Returns the ids inserted."""
    if not rows:
        return set()
    new = await connection.fetch(
        """
        INSERT INTO parked (user_id, consumer, event_id, topic, key, headers, payload,
                            kafka_partition, kafka_offset, state, reason, message_key, needs_version)
        SELECT user_id, consumer, event_id, topic, key, headers, payload,
               kafka_partition, kafka_offset, state, reason, message_key, needs_version
        FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[],
                    $8::integer[], $9::bigint[], $10::text[], $11::text[], $12::text[], $13::integer[])
             WITH ORDINALITY
             AS row (user_id, consumer, event_id, topic, key, headers, payload,
                     kafka_partition, kafka_offset, state, reason, message_key, needs_version, position)
        WHERE NOT EXISTS (SELECT FROM inbox WHERE inbox.user_id = row.user_id AND inbox.consumer = row.consumer
                          AND inbox.event_id = row.event_id)
        ORDER BY position
        ON CONFLICT DO NOTHING RETURNING event_id
        """,
        [row.user_id for row in rows],
        [row.consumer for row in rows],
        [row.event_id for row in rows],
        [row.topic for row in rows],
        [row.key for row in rows],
        [row.headers for row in rows],
        [row.payload for row in rows],
        [row.partition for row in rows],
        [row.offset for row in rows],
        [row.state for row in rows],
        [row.reason for row in rows],
        [row.message_key for row in rows],
        [row.needs_version for row in rows],
    )
    return {row["event_id"] for row in new}


async def list_waiting_topics(database: Database, consumers: Sequence[str]) -> set[str]:
    """Return the topics with events that wait to be retried."""
    rows = await database.fetch_from_queues(
        "SELECT DISTINCT topic FROM parked WHERE consumer = ANY($1) AND state = 'WAITING'", consumers
    )
    return {row["topic"] for row in rows}


async def list_heads(database: Database, consumer: str, topic: str) -> list[tuple[int, int]]:
    """Return the first event of every waiting key that is due, as user id and id."""
    rows = await database.fetch_from_queues(
        """
        SELECT user_id, id FROM (
            SELECT DISTINCT ON (key) user_id, id, state, next_attempt_at FROM parked
            WHERE consumer = $1 AND topic = $2 AND state IN ('WAITING', 'HALTED') ORDER BY key, id
        ) AS head
        WHERE state = 'WAITING' AND next_attempt_at <= now() LIMIT $3
        """,
        consumer,
        topic,
        HEADS_BATCH,
    )
    return [(row["user_id"], row["id"]) for row in rows]


async def find_waiting(connection: Connection, user_id: int, parked_id: int) -> ParkedRow | None:
    row = await connection.fetchrow(
        "SELECT * FROM parked WHERE user_id = $1 AND id = $2 AND state = 'WAITING'", user_id, parked_id
    )
    return ParkedRow.of(row) if row else None


async def delete_waiting(connection: Connection, user_id: int, parked_id: int) -> ParkedRow | None:
    """Returns None if it was handled or dropped meanwhile."""
    row = await connection.fetchrow(
        "DELETE FROM parked WHERE user_id = $1 AND id = $2 AND state = 'WAITING' RETURNING *", user_id, parked_id
    )
    return ParkedRow.of(row) if row else None


async def schedule_retry(
    connection: Connection, user_id: int, parked_id: int, reason: str, first: timedelta, longest: timedelta
) -> tuple[ParkedRow, int] | None:
    """Count an attempt and double the wait until the next one. Returns the row and the number of attempts."""
    row = await connection.fetchrow(
        """
        UPDATE parked SET attempts = attempts + 1, reason = $3,
               next_attempt_at = now() + least($4::interval * 2 ^ least(attempts, 20), $5)
        WHERE user_id = $1 AND id = $2 AND state = 'WAITING' RETURNING *
        """,
        user_id,
        parked_id,
        reason,
        first,
        longest,
    )
    return (ParkedRow.of(row), row["attempts"]) if row else None


async def schedule_uncounted_retry(
    connection: Connection, user_id: int, parked_id: int, reason: str, after: timedelta
) -> None:
    """Schedule a retry without counting an attempt, as the fault was not the event's."""
    await connection.execute(
        """
        UPDATE parked SET reason = $3, next_attempt_at = now() + $4::interval
        WHERE user_id = $1 AND id = $2 AND state = 'WAITING'
        """,
        user_id,
        parked_id,
        reason,
        after,
    )


async def set_state(
    connection: Connection, user_id: int, parked_id: int, state: State, needs_version: int | None
) -> None:
    await connection.execute(
        "UPDATE parked SET state = $3, needs_version = $4 WHERE user_id = $1 AND id = $2",
        user_id,
        parked_id,
        state,
        needs_version,
    )


async def list_newer(connection: Connection) -> list[tuple[str, int, int]]:
    """Return, for each topic with events that wait for an upgrade, the number of keys and the version required."""
    rows = await connection.fetch(
        """
        SELECT topic, count(DISTINCT (consumer, key)) AS keys, max(needs_version) AS version FROM parked
        WHERE needs_version IS NOT NULL AND state IN ('WAITING', 'HALTED') GROUP BY topic ORDER BY topic
        """
    )
    return [(row["topic"], row["keys"], row["version"]) for row in rows]


def dead_letter(consumer: str, record: Received, reason: str, attempts: int) -> OutboxRow:
    """Build the outbox row of a dead letter: the message as received, with the reason why it was given up."""
    headers = {
        **record.headers,
        "dlq_reason": reason,
        "dlq_group": consumer,
        "dlq_attempts": str(attempts),
        "dlq_topic": record.topic,
        "dlq_partition": str(record.partition),
        "dlq_offset": str(record.offset),
    }
    key = bounded(record.key)
    return OutboxRow(
        record.user_id, f"{record.topic}.dlq", key, str(new_id()), _storable_headers(headers), record.payload
    )
