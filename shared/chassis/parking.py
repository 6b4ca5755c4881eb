"""The rows of events that wait aside, and of those that were given up."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias
from uuid import NAMESPACE_OID, UUID, uuid5

import asyncpg

from shared.chassis.decoding import Received, event_id_of
from shared.chassis.kafka_headers import Headers
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Message

# What the states mean stands in the migration (0002_event_days.sql).
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
        )

    def received(self, event: Message | None) -> Received:
        """The record as it came once, under the id that it carries."""
        return Received(
            self.topic,
            self.partition,
            self.offset,
            self.key,
            event_id_of(self.headers) or self.event_id,
            self.headers,
            self.payload,
            event,
            self.reason,
        )


def parked_row(consumer: str, one: Received, reason: str, state: State = "WAITING") -> ParkedRow:
    """A row for a record. Poison is named by where it stood: the id it claims may be anybody's."""
    return ParkedRow(
        one.user_id,
        consumer,
        one.event_id if one.event is not None and one.event_id else _id_of_place(one),
        one.topic,
        without_nul(one.key),
        {name: without_nul(value) for name, value in one.headers.items()},
        one.payload,
        one.partition,
        one.offset,
        state,
        reason,
    )


def _id_of_place(one: Received) -> UUID:
    """The same for a record that is read again, another for another record at the same place."""
    return uuid5(NAMESPACE_OID, f"{one.topic}/{one.partition}/{one.offset}/{one.body_sha256().hex()}")


def without_nul(text: str) -> str:
    """Postgres stores no NUL."""
    return text.replace("\x00", "\ufffd")


async def find_keys_with_parked(
    connection: Connection, consumer: str, topic: str, keys: Collection[str]
) -> set[str]:
    """Which of these keys have something waiting."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT key FROM parked
        WHERE consumer = $1 AND topic = $2 AND key = ANY ($3::text[]) AND state IN ('WAITING', 'HALTED')
        """,
        consumer,
        topic,
        [without_nul(key) for key in keys],
    )
    return {row["key"] for row in rows}


async def insert_parked(connection: Connection, rows: Sequence[ParkedRow]) -> set[UUID]:
    """Set aside, in this order; one that is there or was worked already stays as it is. The ids of the new."""
    if not rows:
        return set()
    new = await connection.fetch(
        """
        INSERT INTO parked (user_id, consumer, event_id, topic, key, headers, payload,
                            kafka_partition, kafka_offset, state, reason)
        SELECT user_id, consumer, event_id, topic, key, headers, payload,
               kafka_partition, kafka_offset, state, reason
        FROM unnest($1::bigint[], $2::text[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[], $7::bytea[],
                    $8::integer[], $9::bigint[], $10::text[], $11::text[]) WITH ORDINALITY
             AS row (user_id, consumer, event_id, topic, key, headers, payload,
                     kafka_partition, kafka_offset, state, reason, position)
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
    )
    return {row["event_id"] for row in new}
