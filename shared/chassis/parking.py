"""The rows of events that wait aside."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

import asyncpg

from shared.chassis.decoding import Received
from shared.chassis.kafka_headers import Headers
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Message
from shared.contracts.types import new_id


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
    halted: bool
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
            row["halted"],
            row["reason"],
        )

    def received(self, event: Message | None) -> Received:
        """The record as it came once."""
        return Received(
            self.topic,
            self.partition,
            self.offset,
            self.key,
            self.event_id,
            self.headers,
            self.payload,
            event,
            self.reason,
        )


def parked_row(consumer: str, one: Received, reason: str, *, halted: bool = False) -> ParkedRow:
    """A row for a record; one without a usable id gets one of its own."""
    return ParkedRow(
        one.user_id,
        consumer,
        one.event_id or new_id(),
        one.topic,
        one.key,
        {name: value.replace("\x00", "\ufffd") for name, value in one.headers.items()},
        one.payload,
        one.partition,
        one.offset,
        halted,
        reason,
    )


async def find_keys_with_parked(
    connection: Connection, consumer: str, topic: str, keys: Collection[str]
) -> set[str]:
    """Which of these keys have something waiting."""
    rows = await connection.fetch(
        "SELECT DISTINCT key FROM parked WHERE consumer = $1 AND topic = $2 AND key = ANY ($3::text[])",
        consumer,
        topic,
        [key for key in keys if "\x00" not in key],
    )
    return {row["key"] for row in rows}


async def insert_parked(connection: Connection, rows: Sequence[ParkedRow]) -> None:
    """Set aside, in this order; one that is there already stays as it is."""
    for row in rows:
        await connection.execute(
            """
            INSERT INTO parked (user_id, consumer, event_id, topic, key, headers, payload,
                                kafka_partition, kafka_offset, halted, reason)
            SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
            WHERE NOT EXISTS (SELECT FROM inbox WHERE user_id = $1 AND consumer = $2 AND event_id = $3)
            ON CONFLICT DO NOTHING
            """,
            row.user_id,
            row.consumer,
            row.event_id,
            row.topic,
            row.key,
            row.headers,
            row.payload,
            row.partition,
            row.offset,
            row.halted,
            row.reason,
        )
