"""Fires alerts: writes the firing, the count and the event in one transaction, once per alert and bar."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.conditions import ConditionFault
from services.notifications.domain.firing import Firing, Timing
from services.notifications.operations.alerts import channels_of
from services.notifications.queries import firings
from services.notifications.queries.alerts import AlertRow
from services.notifications.queries.firings import FiringRow, SeriesCondition
from shared.chassis.crash_points import point
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.notifications import AlertTriggered

OWNERS_PER_BLOCK = 500

log = structlog.get_logger()


@dataclass(frozen=True)
class ClosedSeries:
    """A series with new bars, the tenants with alerts on it, and the evaluation of conditions on these bars."""

    symbol: str
    interval: str
    owners: Sequence[int]
    condition_pass: ConditionPass

    @property
    def closed_at(self) -> datetime:
        return self.condition_pass.closed_at


BySeries = Mapping[tuple[str, str], ClosedSeries]


async def fire_alerts(database: Database, conditions: CompiledConditions, closed: Sequence[ClosedSeries]) -> int:
    """Fire the alerts that are due on these series. Returns the number of new firings.

    Idempotent: after a crash it can run again on the same bars and adds only the firings that are missing.
    """
    by_series = {(one.symbol, one.interval): one for one in closed}
    owners = sorted({owner for one in closed for owner in one.owners})
    fired = 0
    for start in range(0, len(owners), OWNERS_PER_BLOCK):
        block = owners[start : start + OWNERS_PER_BLOCK]
        conditions.evict_oldest()
        async with database.tenants(block) as connection:
            came_true = await _came_true(connection, conditions, block, by_series)
            ends = {key: one.closed_at for key, one in by_series.items()}
            candidates = await firings.list_due_alerts(connection, came_true, ends)
            due = [alert for alert in candidates if _firings(alert, by_series)]
            new = await _fire(connection, due, by_series)
            expired = {
                (alert.user_id, alert.alert_id): ends[alert.symbol, alert.interval]
                for alert in candidates
                if _has_expired(alert, ends[alert.symbol, alert.interval])
            }
            if expired:
                await firings.deactivate_expired(connection, expired)
            if new:
                point("alerts.before_firing")
        if new:
            point("alerts.after_firing")
        fired += new
    return fired


async def _came_true(
    connection: Connection, conditions: CompiledConditions, block: Sequence[int], by_series: BySeries
) -> list[SeriesCondition]:
    """Return the conditions of the block's alerts that came true; reads and compiles those not compiled yet."""
    hashes = await firings.list_conditions(connection, block, by_series)
    if unknown := {each for of_series in hashes.values() for each in of_series if each not in conditions}:
        for row in await firings.get_conditions(connection, block, unknown):
            _compile(conditions, row.condition_hash, row)
    return [
        (*key, condition_hash)
        for key, of_series in hashes.items()
        for condition_hash in by_series[key].condition_pass.came_true(
            [each for each in of_series if each in conditions]
        )
    ]


def _compile(conditions: CompiledConditions, condition_hash: bytes, row: firings.ConditionRow | AlertRow) -> None:
    """Compile a condition. An invalid one is logged and does not stop the evaluation of the others."""
    try:
        conditions.compile(condition_hash, row.alert_type, row.condition_data)
    except ConditionFault as error:
        log.error("alert_condition_invalid", condition_hash=condition_hash.hex(), error=str(error))


def _firings(alert: AlertRow, by_series: BySeries) -> list[Firing]:
    condition_pass = by_series[alert.symbol, alert.interval].condition_pass
    if alert.condition_hash not in condition_pass.conditions:  # changed since its block's conditions were read
        _compile(condition_pass.conditions, alert.condition_hash, alert)
    timing = Timing(
        alert.watched_from,
        alert.expires_at,
        timedelta(seconds=alert.cooldown_seconds),
        alert.last_triggered,
        alert.repeat,
    )
    return condition_pass.firings(alert.condition_hash, timing)


def _has_expired(alert: AlertRow, moment: datetime) -> bool:
    return alert.expires_at is not None and alert.expires_at < moment


async def _fire(connection: Connection, candidates: Sequence[AlertRow], by_series: BySeries) -> int:
    """Fire the candidates that are still due under the lock: one may have been changed or deleted meanwhile."""
    if not candidates:
        return 0
    locked = {
        (alert.user_id, alert.alert_id): alert for alert in await firings.lock_active_alerts(connection, candidates)
    }
    due = {key: _firings(alert, by_series) for key, alert in locked.items()}
    rows = [
        FiringRow(*key, firing.bar.open_time, firing.bar.closed_at, firing.bar.close, firing.value_seen)
        for key, alert_firings in due.items()
        for firing in alert_firings
    ]
    new = await firings.insert_firings(connection, rows)
    await firings.add_to_counts(
        connection, [row for row in rows if ((row.user_id, row.alert_id), row.open_time) in new]
    )
    fresh = {
        key: [firing for firing in alert_firings if (key, firing.bar.open_time) in new]
        for key, alert_firings in due.items()
    }
    finished = [
        locked[key] for key, alert_firings in fresh.items() if alert_firings and locked[key].repeat == "ONCE"
    ]
    if finished:
        await firings.deactivate(connection, finished)
    await emit(connection, *_events(locked, fresh))
    return len(new)


def _events(
    alerts: Mapping[firings.AlertKey, AlertRow], fresh: Mapping[firings.AlertKey, Sequence[Firing]]
) -> Iterator[AlertTriggered]:
    for key, alert_firings in fresh.items():
        alert = alerts[key]
        for number, firing in enumerate(alert_firings, alert.triggered_count + 1):
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
