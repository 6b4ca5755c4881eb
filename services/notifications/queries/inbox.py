"""The inbox: what a tenant was told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Literal
from uuid import UUID

from shared.chassis.postgres import Connection

Category = Literal["ALERT", "TRADING", "SYSTEM", "BILLING"]


@dataclass(frozen=True)
class InboxRow:
    event_id: UUID
    timestamp: datetime
    event_type: str
    event_category: str
    message: str
    data: Mapping[str, object]
    severity: str
    is_read: bool
    session_id: UUID | None
    trade_id: UUID | None
    created_at: datetime


@dataclass(frozen=True)
class Message:
    """A row to be written; `data` is shown as it is."""

    user_id: int
    event_id: UUID
    timestamp: datetime
    event_type: str
    event_category: Category
    message: str
    data: Mapping[str, object]
    session_id: UUID | None = None


INBOX_COLUMNS = ", ".join(field.name for field in fields(InboxRow))
LIST_INBOX = f"""
    SELECT {INBOX_COLUMNS} FROM user_system_events
    WHERE user_id = $1 AND ($2 = false OR NOT is_read) AND ($3::text IS NULL OR event_category = $3)
          AND ($4::uuid IS NULL OR event_id < $4)
    ORDER BY event_id DESC LIMIT $5
"""


async def insert_messages(connection: Connection, messages: Sequence[Message]) -> None:
    """With the partitions of their months."""
    months = {(message.timestamp.year, message.timestamp.month): message.timestamp for message in messages}
    if not messages:
        return
    for moment in months.values():
        await connection.execute("SELECT prepare_inbox_month($1)", moment)
    await connection.execute(
        """
        INSERT INTO user_system_events (user_id, event_id, timestamp, event_type, event_category, message, data,
                                        session_id)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::text[],
                             $7::jsonb[], $8::uuid[])
        """,
        [message.user_id for message in messages],
        [message.event_id for message in messages],
        [message.timestamp for message in messages],
        [message.event_type for message in messages],
        [message.event_category for message in messages],
        [message.message for message in messages],
        [dict(message.data) for message in messages],
        [message.session_id for message in messages],
    )


async def list_inbox(
    connection: Connection,
    user_id: int,
    *,
    unread: bool,
    category: str | None,
    before: UUID | None,
    limit: int,
) -> list[InboxRow]:
    """Newest first: ids rise with time."""
    rows = await connection.fetch(
        LIST_INBOX,
        user_id,
        unread,
        category,
        before,
        limit,
    )
    return [InboxRow(**row) for row in rows]


async def mark_read(connection: Connection, user_id: int, event_id: UUID) -> InboxRow | None:
    row = await connection.fetchrow(
        f"""
        UPDATE user_system_events SET is_read = true WHERE user_id = $1 AND event_id = $2
        RETURNING {INBOX_COLUMNS}
        """,
        user_id,
        event_id,
    )
    return InboxRow(**row) if row else None


async def mark_all_read(connection: Connection, user_id: int) -> int:
    status: str = await connection.execute(
        "UPDATE user_system_events SET is_read = true WHERE user_id = $1 AND NOT is_read", user_id
    )
    return int(status.rpartition(" ")[2])
