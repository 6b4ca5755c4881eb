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

Series = tuple[str, str]  # symbol and interval
SeriesCondition = tuple[str, str, bytes]  # and the hash of a condition

# Not grouped: Postgres would sort all rows for that. The series are given twice: for the index, and exactly.
LIST_CONDITIONS = """
    SELECT array_agg(n) AS numbers, array_agg(condition_hash) AS hashes
    FROM user_alerts
    JOIN unnest($2::text[], $3::text[]) WITH ORDINALITY AS series (symbol, interval, n) USING (symbol, interval)
    WHERE user_id = ANY ($1::bigint[]) AND symbol = ANY ($2::text[]) AND interval = ANY ($3::text[]) AND is_active
"""
# Active alerts of the transaction's tenants whose condition is one of these, and those that have expired. OFFSET 0
# keeps the subquery apart: few alerts are due, and Postgres would read all of the tenants.
LIST_DUE_ALERTS = f"""
    SELECT due.* FROM unnest($1::text[], $2::text[], $3::bytea[]) AS came (symbol, interval, condition_hash)
    CROSS JOIN LATERAL (
        SELECT {ALERT_COLUMNS} FROM user_alerts a
        WHERE a.symbol = came.symbol AND a.interval = came.interval AND a.condition_hash = came.condition_hash
              AND is_active OFFSET 0
    ) AS due
    UNION
    SELECT ended.* FROM unnest($4::text[], $5::text[], $6::timestamptz[]) AS series (symbol, interval, closed_at)
    CROSS JOIN LATERAL (
        SELECT {ALERT_COLUMNS} FROM user_alerts a
        WHERE a.symbol = series.symbol AND a.interval = series.interval
              AND is_active AND expires_at IS NOT NULL AND expires_at < closed_at OFFSET 0
    ) AS ended
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
    connection: Connection, users: Collection[int], series: Collection[Series]
) -> dict[Series, list[bytes]]:
    """Return the distinct condition hashes of the users' active alerts on each series that has some."""
    in_order = list(series)
    symbols, intervals = [symbol for symbol, _ in in_order], [interval for _, interval in in_order]
    row = await connection.fetchrow(LIST_CONDITIONS, list(users), symbols, intervals)
    found: dict[Series, dict[bytes, None]] = {}
    for number, condition_hash in zip(row["numbers"] or (), row["hashes"] or (), strict=True):
        found.setdefault(in_order[number - 1], {})[condition_hash] = None
    return {each: list(hashes) for each, hashes in found.items()}


async def get_conditions(
    connection: Connection, users: Collection[int], hashes: Collection[bytes]
) -> list[ConditionRow]:
    """Return the condition of each hash; all alerts with one hash have the same condition."""
    rows = await connection.fetch(
        """
        SELECT DISTINCT ON (condition_hash) condition_hash, alert_type, condition_data FROM user_alerts
        WHERE user_id = ANY ($1::bigint[]) AND is_active AND condition_hash = ANY ($2::bytea[])
        ORDER BY condition_hash
        """,
        list(users),
        list(hashes),
    )
    return [ConditionRow(**row) for row in rows]


async def list_due_alerts(
    connection: Connection, came_true: Sequence[SeriesCondition], ends: Mapping[Series, datetime]
) -> list[AlertRow]:
    """Return active alerts of the transaction's tenants whose condition came true on their series, and those that
    expired before its end."""
    rows = await connection.fetch(
        LIST_DUE_ALERTS,
        [symbol for symbol, _, _ in came_true],
        [interval for _, interval, _ in came_true],
        [condition_hash for _, _, condition_hash in came_true],
        [symbol for symbol, _ in ends],
        [interval for _, interval in ends],
        list(ends.values()),
    )
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
    await _deactivate(connection, dict.fromkeys((alert.user_id, alert.alert_id) for alert in alerts))


async def deactivate_expired(connection: Connection, alerts: Mapping[AlertKey, datetime]) -> None:
    """Deactivate those that expired before their time, by their current rows: expiry may have been extended."""
    await _deactivate(connection, alerts)


async def _deactivate(connection: Connection, alerts: Mapping[AlertKey, datetime | None]) -> None:
    await connection.execute(
        """
        WITH ended AS (
            UPDATE user_alerts AS a SET is_active = false
            FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[]) AS one (user_id, alert_id, moment)
            WHERE a.user_id = one.user_id AND a.alert_id = one.alert_id
                  AND (one.moment IS NULL OR a.expires_at < one.moment)
            RETURNING a.user_id, a.alert_id
        )
        DELETE FROM market_interests AS m USING ended
        WHERE m.user_id = ended.user_id AND m.object_id = ended.alert_id
        """,
        [user_id for user_id, _ in alerts],
        [alert_id for _, alert_id in alerts],
        list(alerts.values()),
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
