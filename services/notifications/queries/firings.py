"""Alerts of many tenants on one series: those that are due, and their firings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.notifications.domain.conditions import AlertType
from services.notifications.queries.alerts import ALERT_COLUMNS, AlertRow
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection

AlertKey = tuple[int, UUID]

LIST_CONDITIONS = """
    SELECT DISTINCT condition_hash FROM user_alerts
    WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
"""
# Active alerts whose condition is one of these, and those that have expired.
LIST_DUE_ALERTS = f"""
    SELECT {ALERT_COLUMNS} FROM user_alerts
    WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
          AND condition_hash = ANY ($4::bytea[])
    UNION
    SELECT {ALERT_COLUMNS} FROM user_alerts
    WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
          AND expires_at IS NOT NULL AND expires_at < $5
    ORDER BY user_id, alert_id
"""
ORDERS = {"open_time": Order(open_time=datetime)}


@dataclass(frozen=True)
class FiringRow:
    """`closed_at` is when the bar closed, by the exchange's clock; `price` is its close."""

    user_id: int
    alert_id: UUID
    open_time: datetime
    closed_at: datetime
    price: Decimal
    value_seen: str | None


@dataclass(frozen=True)
class PastFiring:
    """A firing as listed. Columns that are None did not exist yet when the alert fired."""

    open_time: datetime
    closed_at: datetime | None
    price: Decimal | None
    value_seen: str | None
    created_at: datetime


@dataclass(frozen=True)
class ConditionRow:
    condition_hash: bytes
    alert_type: AlertType
    condition_data: Mapping[str, object]


async def list_conditions(
    connection: Connection, users: Collection[int], symbol: str, interval: str
) -> list[bytes]:
    """Return the distinct condition hashes of the users' active alerts on a series."""
    rows = await connection.fetch(LIST_CONDITIONS, list(users), symbol, interval)
    return [row["condition_hash"] for row in rows]


async def get_conditions(
    connection: Connection, users: Collection[int], symbol: str, interval: str, hashes: Collection[bytes]
) -> list[ConditionRow]:
    """Return the condition of each hash; all alerts with one hash have the same condition."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT ON (condition_hash) condition_hash, alert_type, condition_data FROM user_alerts
        WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
              AND condition_hash = ANY ($4::bytea[])
        ORDER BY condition_hash
        """,
        list(users),
        symbol,
        interval,
        list(hashes),
    )
    return [ConditionRow(**row) for row in rows]


async def list_due_alerts(
    connection: Connection,
    users: Collection[int],
    symbol: str,
    interval: str,
    hashes: Collection[bytes],
    closed_at: datetime,
) -> list[AlertRow]:
    """Return active alerts whose condition became true, and those that expired before `closed_at`."""
    rows = await connection.fetch(LIST_DUE_ALERTS, list(users), symbol, interval, list(hashes), closed_at)
    return [AlertRow(**row) for row in rows]


async def lock_active_alerts(connection: Connection, alerts: Collection[AlertRow]) -> list[AlertRow]:
    """Lock alerts until the transaction ends and return their current rows, without deleted and inactive ones."""
    rows = await connection.fetch(
        f"""
        SELECT {ALERT_COLUMNS} FROM user_alerts
        WHERE (user_id, alert_id) IN (SELECT * FROM unnest($1::bigint[], $2::uuid[])) AND is_active
        ORDER BY user_id, alert_id FOR UPDATE
        """,
        [alert.user_id for alert in alerts],
        [alert.alert_id for alert in alerts],
    )
    return [AlertRow(**row) for row in rows]


async def insert_firings(connection: Connection, firings: Sequence[FiringRow]) -> set[tuple[AlertKey, datetime]]:
    """Insert firings and return the keys of those that did not exist, as alert and open time of the bar."""
    rows = await connection.fetch(
        """
        INSERT INTO alert_firings (user_id, alert_id, open_time, closed_at, price, value_seen)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::numeric[],
                             $6::text[])
        ON CONFLICT DO NOTHING RETURNING user_id, alert_id, open_time
        """,
        [firing.user_id for firing in firings],
        [firing.alert_id for firing in firings],
        [firing.open_time for firing in firings],
        [firing.closed_at for firing in firings],
        [firing.price for firing in firings],
        [firing.value_seen for firing in firings],
    )
    return {((row["user_id"], row["alert_id"]), row["open_time"]) for row in rows}


async def add_to_counts(connection: Connection, firings: Sequence[FiringRow]) -> None:
    """Add the firings to `triggered_count` and `last_triggered` of their alerts."""
    await connection.execute(
        """
        UPDATE user_alerts AS a SET triggered_count = a.triggered_count + fired.times,
               last_triggered = greatest(a.last_triggered, fired.last)
        FROM (
            SELECT user_id, alert_id, count(*) AS times, max(closed_at) AS last
            FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS one (user_id, alert_id, closed_at)
            GROUP BY 1, 2
        ) AS fired
        WHERE a.user_id = fired.user_id AND a.alert_id = fired.alert_id
        """,
        [firing.user_id for firing in firings],
        [firing.alert_id for firing in firings],
        [firing.closed_at for firing in firings],
    )


async def deactivate(connection: Connection, alerts: Collection[AlertRow]) -> None:
    """Deactivate alerts and delete their demand."""
    await _deactivate(connection, alerts, None)


async def deactivate_expired(connection: Connection, alerts: Collection[AlertRow], moment: datetime) -> None:
    """Deactivate those that expired before `moment`, by their current rows: expiry may have been extended."""
    await _deactivate(connection, alerts, moment)


async def _deactivate(connection: Connection, alerts: Collection[AlertRow], moment: datetime | None) -> None:
    await connection.execute(
        """
        WITH ended AS (
            UPDATE user_alerts AS a SET is_active = false
            FROM unnest($1::bigint[], $2::uuid[]) AS one (user_id, alert_id)
            WHERE a.user_id = one.user_id AND a.alert_id = one.alert_id
                  AND ($3::timestamptz IS NULL OR a.expires_at < $3)
            RETURNING a.user_id, a.alert_id
        )
        DELETE FROM market_interests AS m USING ended
        WHERE m.user_id = ended.user_id AND m.object_id = ended.alert_id
        """,
        [alert.user_id for alert in alerts],
        [alert.alert_id for alert in alerts],
        moment,
    )


async def list_firings(connection: Connection, user_id: int, alert_id: UUID, wanted: Slice) -> list[PastFiring]:
    rows = await connection.fetch(
        f"""
        SELECT open_time, closed_at, price, value_seen, created_at FROM alert_firings
        WHERE user_id = $1 AND alert_id = $2 {wanted.sql(3)}
        """,
        user_id,
        alert_id,
        *wanted.arguments,
    )
    return [PastFiring(**row) for row in rows]
