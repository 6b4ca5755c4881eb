"""Alerts of one tenant, and their demand for market series."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from uuid import UUID

from services.notifications.domain.conditions import VERSION, AlertType
from services.notifications.domain.firing import Repeat
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.market.demand import delete_demand, insert_demand


@dataclass(frozen=True)
class AlertValues:
    """The columns that a client may write, in the order of the statements' parameters."""

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
    repeat: Repeat
    is_active: bool


@dataclass(frozen=True)
class AlertRow(AlertValues):
    user_id: int
    alert_id: UUID
    public_id: UUID
    triggered_count: int
    last_triggered: datetime | None
    watched_from: datetime
    condition_hash: bytes
    created_at: datetime
    updated_at: datetime


WRITABLE = tuple(field.name for field in fields(AlertValues))
ALERT_COLUMNS = ", ".join(field.name for field in fields(AlertRow))


async def insert_alert(
    connection: Connection, user_id: int, public_id: UUID, alert_id: UUID, values: AlertValues
) -> AlertRow:
    row = await connection.fetchrow(
        f"""
        INSERT INTO user_alerts (user_id, public_id, alert_id, {", ".join(WRITABLE)}, condition_version)
        VALUES ($1, $2, $3, {_places(4)}, {VERSION}) RETURNING {ALERT_COLUMNS}
        """,
        user_id,
        public_id,
        alert_id,
        *(getattr(values, name) for name in WRITABLE),
    )
    return AlertRow(**row)


async def update_alert(connection: Connection, user_id: int, alert_id: UUID, values: AlertValues) -> AlertRow:
    """Update an alert. If it is activated or gets another condition, `watched_from` becomes now."""
    condition = f"${3 + WRITABLE.index('condition_data')}"
    row = await connection.fetchrow(
        f"""
        UPDATE user_alerts SET ({", ".join(WRITABLE)}) = ({_places(3)}), condition_version = {VERSION},
            watched_from = CASE WHEN is_active AND condition_data = {condition} THEN watched_from ELSE now() END
        WHERE user_id = $1 AND alert_id = $2 RETURNING {ALERT_COLUMNS}
        """,
        user_id,
        alert_id,
        *(getattr(values, name) for name in WRITABLE),
    )
    return AlertRow(**row)


def _places(first: int) -> str:
    """Return the placeholders `$4, $5, …`, one for each writable column."""
    return ", ".join(f"${number}" for number in range(first, first + len(WRITABLE)))


async def count_alerts(connection: Connection, user_id: int) -> int:
    """Count the tenant's alerts under a lock: no other transaction can create one until this transaction ends."""
    await connection.execute("SELECT lock_for_tenant('alerts')")
    count: int = await connection.fetchval("SELECT count(*) FROM user_alerts WHERE user_id = $1", user_id)
    return count


async def get_alert(connection: Connection, user_id: int, alert_id: UUID, *, lock: bool = False) -> AlertRow:
    """Raises NotFound."""
    row = await connection.fetchrow(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts WHERE user_id = $1 AND alert_id = $2
        {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        alert_id,
    )
    return AlertRow(**require_found(row))


@dataclass(frozen=True)
class AlertFilter:
    """Filters of the list; None matches everything."""

    symbol: str | None
    alert_type: str | None
    is_active: bool | None


# Ids are UUIDv7, so they sort by creation time; a name is unique within a tenant.
ORDERS = {"created_at": Order(alert_id=UUID), "alert_name": Order(alert_name=str)}


async def list_alerts(connection: Connection, user_id: int, criteria: AlertFilter, wanted: Slice) -> list[AlertRow]:
    rows = await connection.fetch(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR alert_type = $3)
              AND ($4::boolean IS NULL OR is_active = $4) {wanted.sql(5)}
        """,
        user_id,
        criteria.symbol,
        criteria.alert_type,
        criteria.is_active,
        *wanted.arguments,
    )
    return [AlertRow(**row) for row in rows]


async def delete_alert(connection: Connection, user_id: int, alert_id: UUID) -> None:
    """Delete an alert and, by cascade, its firings."""
    await connection.execute("DELETE FROM user_alerts WHERE user_id = $1 AND alert_id = $2", user_id, alert_id)


async def set_demand(connection: Connection, alert: AlertRow) -> None:
    """Replace the alert's demand for its series: an active alert has one, an inactive one has none."""
    await delete_demand(connection, alert.user_id, alert.alert_id)
    if alert.is_active:
        await insert_demand(connection, alert.user_id, alert.alert_id, alert.symbol, alert.interval)
