"""Alerts that fire: the firing, the count and the event in one transaction, once for an alert and a bar."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.notifications.domain.firing import Firing
from services.notifications.operations.alerts import channels_of
from services.notifications.queries import firings
from services.notifications.queries.alerts import AlertRow
from services.notifications.queries.firings import FiringRow
from shared.chassis.outbox import emit
from shared.chassis.points import point
from shared.chassis.postgres import Connection, Database
from shared.contracts.notifications import AlertTriggered

OWNERS_AT_ONCE = 500

Due = Callable[[AlertRow], Sequence[Firing]]


@dataclass(frozen=True)
class SeriesBatch:
    """Bars of one series that are worked together, up to the one that closed at `closed_at`."""

    symbol: str
    interval: str
    closed_at: datetime


async def fire_alerts(database: Database, owners: Sequence[int], batch: SeriesBatch, due: Due) -> int:
    """For all alerts of these tenants on a series, `due` saying at which bars each fires; how many did.

    Worked again, as after being killed, it finds the firings that are there and fires the others.
    """
    fired = 0
    for start in range(0, len(owners), OWNERS_AT_ONCE):
        block = owners[start : start + OWNERS_AT_ONCE]
        async with database.tenants(block) as connection:
            active = await firings.list_active_alerts(connection, block, batch.symbol, batch.interval)
            new = await _fire(connection, [alert for alert in active if due(alert)], due)
            over = [
                alert for alert in active if alert.expires_at is not None and alert.expires_at < batch.closed_at
            ]
            if over:
                await firings.switch_off(connection, over, batch.closed_at)
            if new:
                point("alerts.before_firing")
        if new:
            point("alerts.after_firing")
        fired += new
    return fired


async def _fire(connection: Connection, candidates: Sequence[AlertRow], due: Due) -> int:
    """What is due is asked again under the lock: an alert may have been changed or removed meanwhile."""
    if not candidates:
        return 0
    held = {
        (alert.user_id, alert.alert_id): alert for alert in await firings.lock_active_alerts(connection, candidates)
    }
    wanted = {key: due(alert) for key, alert in held.items()}
    rows = [
        FiringRow(*key, firing.bar.open_time, firing.bar.closed_at)
        for key, of_alert in wanted.items()
        for firing in of_alert
    ]
    new = await firings.insert_firings(connection, rows)
    await firings.count_firings(
        connection, [row for row in rows if ((row.user_id, row.alert_id), row.open_time) in new]
    )
    fresh = {
        key: [firing for firing in of_alert if (key, firing.bar.open_time) in new]
        for key, of_alert in wanted.items()
    }
    await emit(connection, *_events(held, fresh))
    return len(new)


def _events(
    alerts: Mapping[firings.AlertKey, AlertRow], fresh: Mapping[firings.AlertKey, Sequence[Firing]]
) -> Iterator[AlertTriggered]:
    for key, of_alert in fresh.items():
        alert = alerts[key]
        for number, firing in enumerate(of_alert, alert.triggered_count + 1):
            yield AlertTriggered(
                user_id=alert.user_id,
                public_id=alert.public_id,
                aggregate=f"alert:{alert.alert_id}",
                aggregate_seq=number,
                alert_id=alert.alert_id,
                alert_name=alert.alert_name,
                alert_type=alert.alert_type,
                symbol=alert.symbol,
                interval=alert.interval,
                open_time=firing.bar.open_time,
                price=firing.bar.close,
                value_seen=firing.value_seen,
                condition=dict(alert.condition_data),
                channels=channels_of(alert),
            )
