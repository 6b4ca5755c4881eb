"""The inbox: a tenant's notifications and their positions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from services.notifications.domain.kinds import Category, EventType, Severity
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class InboxRow:
    event_id: UUID
    position: int
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
class NotificationRow:
    """A row to be written; `data` is returned to the client unchanged."""

    user_id: int
    event_id: UUID
    position: int
    timestamp: datetime
    event_type: EventType
    event_category: Category
    message: str
    data: Mapping[str, object]
    severity: Severity
    session_id: UUID | None
    trade_id: UUID | None


@dataclass(frozen=True)
class InboxFilter:
    """Filters of the list; None matches everything. `since` is inclusive, `until` exclusive."""

    is_read: bool | None
    category: str | None
    event_type: str | None
    severity: str | None
    session_id: UUID | None
    since: datetime | None
    until: datetime | None


INBOX_COLUMNS = ", ".join(field.name for field in fields(InboxRow))
ORDERS = {"created_at": Order(event_id=UUID)}  # ids are UUIDv7, so they sort by creation time
LIST_CHANGES = f"""
    SELECT {INBOX_COLUMNS} FROM user_system_events
    WHERE user_id = $1 AND position > $2 AND position <= $3 ORDER BY position LIMIT $4
"""
COUNT_UNREAD = "SELECT count(*) FROM user_system_events WHERE user_id = $1 AND NOT is_read"


async def prepare_months(connection: Connection, moments: Collection[datetime]) -> None:
    """Create the partitions for messages of these times if they are missing."""
    months = {(moment.year, moment.month): moment for moment in moments}
    for moment in months.values():
        await connection.execute("SELECT prepare_inbox_month($1)", moment)


async def insert_messages(connection: Connection, messages: Sequence[NotificationRow]) -> None:
    """Insert messages. Their partitions must exist: see `prepare_months`."""
    await connection.execute(
        """
        INSERT INTO user_system_events (user_id, event_id, position, timestamp, event_type, event_category, message,
                                        data, severity, session_id, trade_id)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[],
                             $7::text[], $8::jsonb[], $9::text[], $10::uuid[], $11::uuid[])
        """,
        [message.user_id for message in messages],
        [message.event_id for message in messages],
        [message.position for message in messages],
        [message.timestamp for message in messages],
        [message.event_type for message in messages],
        [message.event_category for message in messages],
        [message.message for message in messages],
        [dict(message.data) for message in messages],
        [message.severity for message in messages],
        [message.session_id for message in messages],
        [message.trade_id for message in messages],
    )


async def update_messages(connection: Connection, messages: Sequence[NotificationRow]) -> None:
    """Replace text, data and severity, move the messages to their new positions and mark them unread."""
    await connection.execute(
        """
        UPDATE user_system_events AS e SET position = n.position, message = n.message, data = n.data,
               severity = n.severity, is_read = false
        FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::jsonb[], $6::text[])
             AS n (user_id, event_id, position, message, data, severity)
        WHERE e.user_id = n.user_id AND e.event_id = n.event_id
        """,
        [message.user_id for message in messages],
        [message.event_id for message in messages],
        [message.position for message in messages],
        [message.message for message in messages],
        [dict(message.data) for message in messages],
        [message.severity for message in messages],
    )


async def list_inbox(connection: Connection, user_id: int, criteria: InboxFilter, wanted: Slice) -> list[InboxRow]:
    rows = await connection.fetch(
        f"""
        SELECT {INBOX_COLUMNS} FROM user_system_events
        WHERE user_id = $1 AND ($2::boolean IS NULL OR is_read = $2) AND ($3::text IS NULL OR event_category = $3)
              AND ($4::text IS NULL OR event_type = $4) AND ($5::text IS NULL OR severity = $5)
              AND ($6::uuid IS NULL OR session_id = $6) AND ($7::timestamptz IS NULL OR timestamp >= $7)
              AND ($8::timestamptz IS NULL OR timestamp < $8) {wanted.sql(9)}
        """,
        user_id,
        criteria.is_read,
        criteria.category,
        criteria.event_type,
        criteria.severity,
        criteria.session_id,
        criteria.since,
        criteria.until,
        *wanted.arguments,
    )
    return [InboxRow(**row) for row in rows]


async def list_changes(connection: Connection, user_id: int, after: int, up_to: int, limit: int) -> list[InboxRow]:
    """Return messages added or updated after position `after` and up to `up_to`, by position."""
    return [InboxRow(**row) for row in await connection.fetch(LIST_CHANGES, user_id, after, up_to, limit)]


async def count_unread(connection: Connection, user_id: int) -> int:
    count: int = await connection.fetchval(COUNT_UNREAD, user_id)
    return count


async def get_last_position(connection: Connection, user_id: int) -> int:
    """Return the inbox's last position, or 0 if it never had a message."""
    position: int | None = await connection.fetchval(
        "SELECT last_position FROM inboxes WHERE user_id = $1", user_id
    )
    return position or 0


async def find_last_positions(connection: Connection, users: Collection[int]) -> dict[int, int]:
    rows = await connection.fetch(
        "SELECT user_id, last_position FROM inboxes WHERE user_id = ANY ($1::bigint[])", list(users)
    )
    return {row["user_id"]: row["last_position"] for row in rows}


async def lock_inbox(connection: Connection, user_id: int) -> None:
    """Lock the inbox. Take this lock before those of its messages, in the same order as deliveries do."""
    await connection.execute("SELECT FROM inboxes WHERE user_id = $1 FOR UPDATE", user_id)


async def advance_position(connection: Connection, user_id: int) -> None:
    """Use up one position for a change without a message: something was read."""
    await connection.execute("UPDATE inboxes SET last_position = last_position + 1 WHERE user_id = $1", user_id)


async def mark_read(connection: Connection, user_id: int, event_id: UUID) -> tuple[InboxRow, bool]:
    """Mark a message as read. Returns the message and whether it was unread. Raises NotFound."""
    row = await connection.fetchrow(
        f"""
        UPDATE user_system_events SET is_read = true WHERE user_id = $1 AND event_id = $2
        RETURNING {INBOX_COLUMNS}, NOT old.is_read AS was_unread
        """,
        user_id,
        event_id,
    )
    *values, was_unread = require_found(row)
    return InboxRow(*values), was_unread


async def mark_all_read(connection: Connection, user_id: int, position: int | None, until: datetime | None) -> int:
    """Mark messages up to a position, and created before `until`, as read. Returns how many were unread."""
    status: str = await connection.execute(
        """
        UPDATE user_system_events SET is_read = true
        WHERE user_id = $1 AND NOT is_read AND ($2::bigint IS NULL OR position <= $2)
              AND ($3::timestamptz IS NULL OR created_at < $3)
        """,
        user_id,
        position,
        until,
    )
    return int(status.rpartition(" ")[2])
