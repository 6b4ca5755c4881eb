"""The outbox: a service inserts its events in the transaction of the change; the relay sends them (relay.py)."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.chassis.clock import utc_now
from shared.chassis.events.headers import Headers, headers_of
from shared.chassis.postgres import Connection
from shared.contracts.envelope import Event, Message
from shared.contracts.types import new_id

BUCKETS = 8


async def emit(connection: Connection, *events: Event, source: str | None = None) -> None:
    """Publish these events, in this order, when this transaction commits."""
    now = utc_now()
    await insert_outgoing(
        connection,
        [outgoing(event, source or event.source, now) for event in events],
    )


@dataclass(frozen=True)
class OutboxRow:
    user_id: int
    topic: str
    key: str
    event_id: str
    headers: Headers
    payload: bytes


def outgoing(event: Event, source: str, published_at: datetime) -> OutboxRow:
    return OutboxRow(event.user_id, event.topic, event.key(), *serialise(event, source, published_at))


def serialise(event: Message, source: str, published_at: datetime) -> tuple[str, Headers, bytes]:
    """Return a new event id, and the headers and the value of the message."""
    event_id = str(new_id())
    return event_id, headers_of(event, event_id, source, published_at), event.model_dump_json().encode()


async def insert_outgoing(connection: Connection, rows: Sequence[OutboxRow]) -> None:
    """Insert outbox rows in one statement; their ids keep the order."""
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
    connection.note_filled("outbox")


def bucket_of(key: str) -> int:
    """Return the bucket of a key. It never changes."""
    return zlib.crc32(key.encode()) % BUCKETS
