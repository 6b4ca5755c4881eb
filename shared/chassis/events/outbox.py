"""What a service says: a row beside the change it speaks of, sent on by a relay (relay.py)."""

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
NOBODY = 0


async def emit(connection: Connection, *events: Event, source: str | None = None) -> None:
    """Say these, in this order, if and when this transaction commits."""
    moment = utc_now()
    await insert_outgoing(
        connection,
        [outgoing(event, source or event.source, moment) for event in events],
    )


@dataclass(frozen=True)
class OutboxRow:
    user_id: int
    topic: str
    key: str
    event_id: str
    headers: Headers
    payload: bytes


def outgoing(event: Event, source: str, moment: datetime) -> OutboxRow:
    return OutboxRow(event.user_id, event.topic, event.key(), *serialise(event, source, moment))


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
