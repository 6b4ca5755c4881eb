"""All SQL of notifications."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from services.notifications.domain import AlertType
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


@dataclass(frozen=True)
class AlertRow:
    user_id: int
    alert_id: UUID
    public_id: UUID
    alert_name: str
    symbol: str
    interval: str
    alert_type: AlertType
    condition_data: Mapping[str, object]
    notify_telegram: bool
    notify_email: bool
    notify_dashboard: bool
    notify_webhook: bool
    cooldown_seconds: int
    expires_at: datetime | None
    is_active: bool
    triggered_count: int
    last_triggered: datetime | None
    created_at: datetime
    updated_at: datetime


ALERT_COLUMNS = ", ".join(field.name for field in fields(AlertRow))
# What a client may write, in this order.
WRITABLE = (
    "alert_name",
    "symbol",
    "interval",
    "alert_type",
    "condition_data",
    "notify_telegram",
    "notify_email",
    "notify_dashboard",
    "notify_webhook",
    "cooldown_seconds",
    "expires_at",
    "is_active",
)


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


INBOX_COLUMNS = ", ".join(field.name for field in fields(InboxRow))


@dataclass(frozen=True)
class Entitlement:
    plan: str
    telegram_alerts: bool


async def upsert_entitlements(connection: Connection, events: Sequence[SubscriptionChanged]) -> None:
    """Applied only if newer than what is known."""
    latest = {event.user_id: event for event in sorted(events, key=lambda event: event.subscription_version)}
    await connection.execute(
        """
        INSERT INTO entitlements (user_id, subscription_version, plan, telegram_alerts)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::boolean[])
        ON CONFLICT (user_id) DO UPDATE SET subscription_version = excluded.subscription_version,
            plan = excluded.plan, telegram_alerts = excluded.telegram_alerts
        WHERE entitlements.subscription_version < excluded.subscription_version
        """,
        [event.user_id for event in latest.values()],
        [event.subscription_version for event in latest.values()],
        [event.plan for event in latest.values()],
        [event.features.telegram_alerts for event in latest.values()],
    )


async def get_entitlement(connection: Connection, user_id: int) -> Entitlement | None:
    row = await connection.fetchrow("SELECT plan, telegram_alerts FROM entitlements WHERE user_id = $1", user_id)
    return Entitlement(**row) if row else None


async def insert_alert(
    connection: Connection, user_id: int, public_id: UUID, alert_id: UUID, values: Mapping[str, object]
) -> AlertRow:
    places = ", ".join(f"${number}" for number in range(4, 4 + len(WRITABLE)))
    row = await connection.fetchrow(
        f"""
        INSERT INTO user_alerts (user_id, public_id, alert_id, {", ".join(WRITABLE)})
        VALUES ($1, $2, $3, {places}) RETURNING {ALERT_COLUMNS}
        """,
        user_id,
        public_id,
        alert_id,
        *(values[name] for name in WRITABLE),
    )
    return AlertRow(**row)


async def update_alert(
    connection: Connection, user_id: int, alert_id: UUID, values: Mapping[str, object]
) -> AlertRow:
    places = ", ".join(f"${number}" for number in range(3, 3 + len(WRITABLE)))
    row = await connection.fetchrow(
        f"""
        UPDATE user_alerts SET ({", ".join(WRITABLE)}) = ({places})
        WHERE user_id = $1 AND alert_id = $2 RETURNING {ALERT_COLUMNS}
        """,
        user_id,
        alert_id,
        *(values[name] for name in WRITABLE),
    )
    return AlertRow(**row)


async def get_alert(connection: Connection, user_id: int, alert_id: UUID, *, lock: bool = False) -> AlertRow | None:
    row = await connection.fetchrow(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts WHERE user_id = $1 AND alert_id = $2
        {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        alert_id,
    )
    return AlertRow(**row) if row else None


async def list_alerts(
    connection: Connection, user_id: int, symbol: str | None, after: UUID | None, limit: int
) -> list[AlertRow]:
    rows = await connection.fetch(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::uuid IS NULL OR alert_id > $3)
        ORDER BY alert_id LIMIT $4
        """,
        user_id,
        symbol,
        after,
        limit,
    )
    return [AlertRow(**row) for row in rows]


async def delete_alert(connection: Connection, user_id: int, alert_id: UUID) -> bool:
    done = await connection.fetchval(
        "DELETE FROM user_alerts WHERE user_id = $1 AND alert_id = $2 RETURNING true", user_id, alert_id
    )
    return bool(done)


async def set_interest(connection: Connection, alert: AlertRow) -> None:
    """The feed brings the series of an active alert."""
    await connection.execute(
        "DELETE FROM market_interests WHERE user_id = $1 AND object_id = $2", alert.user_id, alert.alert_id
    )
    if alert.is_active:
        await connection.execute(
            "INSERT INTO market_interests (user_id, object_id, symbol, interval) VALUES ($1, $2, $3, $4)",
            alert.user_id,
            alert.alert_id,
            alert.symbol,
            alert.interval,
        )


async def delete_interest(connection: Connection, user_id: int, alert_id: UUID) -> None:
    await connection.execute(
        "DELETE FROM market_interests WHERE user_id = $1 AND object_id = $2", user_id, alert_id
    )


async def find_owners(connection: Connection, symbol: str, interval: str) -> set[int]:
    """Across tenants, as the queue role: ids only."""
    rows = await connection.fetch(
        "SELECT DISTINCT user_id FROM market_interests WHERE symbol = $1 AND interval = $2", symbol, interval
    )
    return {row["user_id"] for row in rows}


async def list_active_alerts(
    connection: Connection, users: Collection[int], symbol: str, interval: str
) -> list[AlertRow]:
    rows = await connection.fetch(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts
        WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
        ORDER BY user_id, alert_id
        """,
        list(users),
        symbol,
        interval,
    )
    return [AlertRow(**row) for row in rows]


async def insert_firing(connection: Connection, alert: AlertRow, open_time: datetime, closed_at: datetime) -> int:
    """The alert's new count; 0 if it has fired for this bar before."""
    count: int | None = await connection.fetchval(
        """
        WITH firing AS (
            INSERT INTO alert_firings (user_id, alert_id, open_time) VALUES ($1, $2, $3)
            ON CONFLICT DO NOTHING RETURNING user_id, alert_id
        )
        UPDATE user_alerts AS a SET triggered_count = a.triggered_count + 1,
               last_triggered = greatest(a.last_triggered, $4)
        FROM firing WHERE a.user_id = firing.user_id AND a.alert_id = firing.alert_id
        RETURNING a.triggered_count
        """,
        alert.user_id,
        alert.alert_id,
        open_time,
        closed_at,
    )
    return count or 0


@dataclass(frozen=True)
class Message:
    """A row for the inbox."""

    user_id: int
    event_id: UUID
    timestamp: datetime
    message: str
    data: Mapping[str, object]


async def insert_alert_messages(connection: Connection, messages: Sequence[Message]) -> None:
    await connection.execute(
        """
        INSERT INTO user_system_events (user_id, event_id, timestamp, event_type, event_category, message, data)
        SELECT user_id, event_id, timestamp, 'ALERT_TRIGGERED', 'ALERT', message, data
        FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::jsonb[])
             AS new (user_id, event_id, timestamp, message, data)
        ON CONFLICT DO NOTHING
        """,
        [message.user_id for message in messages],
        [message.event_id for message in messages],
        [message.timestamp for message in messages],
        [message.message for message in messages],
        [dict(message.data) for message in messages],
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
        f"""
        SELECT {INBOX_COLUMNS} FROM user_system_events
        WHERE user_id = $1 AND ($2 = false OR NOT is_read) AND ($3::text IS NULL OR event_category = $3)
              AND ($4::uuid IS NULL OR event_id < $4)
        ORDER BY event_id DESC LIMIT $5
        """,
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
