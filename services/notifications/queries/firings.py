"""Alerts of many tenants on one series: who has some, which fire, which are over."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.notifications.queries.alerts import ALERT_COLUMNS, AlertRow
from shared.chassis.postgres import Connection

AlertKey = tuple[int, UUID]

FIND_OWNERS = "SELECT DISTINCT user_id FROM market_interests WHERE symbol = $1 AND interval = $2 ORDER BY user_id"
LIST_ACTIVE_ALERTS = f"""
    SELECT {ALERT_COLUMNS} FROM user_alerts
    WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3 AND is_active
    ORDER BY user_id, alert_id
"""


@dataclass(frozen=True)
class FiringRow:
    """`closed_at` is when the bar closed, by the exchange's clock."""

    user_id: int
    alert_id: UUID
    open_time: datetime
    closed_at: datetime


async def find_owners(connection: Connection, symbol: str, interval: str) -> list[int]:
    """Across tenants, as the queue role: ids only, ascending."""
    rows = await connection.fetch(FIND_OWNERS, symbol, interval)
    return [row["user_id"] for row in rows]


async def list_active_alerts(
    connection: Connection, users: Collection[int], symbol: str, interval: str
) -> list[AlertRow]:
    rows = await connection.fetch(LIST_ACTIVE_ALERTS, list(users), symbol, interval)
    return [AlertRow(**row) for row in rows]


async def lock_active_alerts(connection: Connection, alerts: Collection[AlertRow]) -> list[AlertRow]:
    """As they are now, and as they stay until the transaction ends; those removed or switched off are left out."""
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
    """Those that are new, by alert and bar."""
    rows = await connection.fetch(
        """
        INSERT INTO alert_firings (user_id, alert_id, open_time)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[])
        ON CONFLICT DO NOTHING RETURNING user_id, alert_id, open_time
        """,
        [firing.user_id for firing in firings],
        [firing.alert_id for firing in firings],
        [firing.open_time for firing in firings],
    )
    return {((row["user_id"], row["alert_id"]), row["open_time"]) for row in rows}


async def count_firings(connection: Connection, firings: Sequence[FiringRow]) -> None:
    """Onto the alerts, each of these once."""
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


async def switch_off(connection: Connection, alerts: Collection[AlertRow], moment: datetime) -> None:
    """Those that have expired by now; their series are no longer asked for."""
    await connection.execute(
        """
        WITH ended AS (
            UPDATE user_alerts AS a SET is_active = false
            FROM unnest($1::bigint[], $2::uuid[]) AS one (user_id, alert_id)
            WHERE a.user_id = one.user_id AND a.alert_id = one.alert_id AND a.expires_at < $3
            RETURNING a.user_id, a.alert_id
        )
        DELETE FROM market_interests AS m USING ended
        WHERE m.user_id = ended.user_id AND m.object_id = ended.alert_id
        """,
        [alert.user_id for alert in alerts],
        [alert.alert_id for alert in alerts],
        moment,
    )
