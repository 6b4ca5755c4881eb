"""Fires alerts: writes the firing, the count and the event in one transaction, once per alert and bar."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from services.notifications.domain.condition_sets import ConditionPass
from services.notifications.domain.conditions import ConditionFault
from services.notifications.domain.firing import Firing, Timing
from services.notifications.operations.alerts import channels_of
from services.notifications.queries import firings
from services.notifications.queries.alerts import AlertRow
from services.notifications.queries.firings import FiringRow
from shared.chassis.crash_points import point
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.notifications import AlertTriggered

OWNERS_PER_BLOCK = 500

log = structlog.get_logger()


@dataclass(frozen=True)
class SeriesBatch:
    """Bars of one series that are evaluated together; the last one closed at `closed_at`."""

    symbol: str
    interval: str
    closed_at: datetime


async def fire_alerts(
    database: Database, owners: Sequence[int], batch: SeriesBatch, condition_pass: ConditionPass
) -> int:
    """Fire the alerts of these tenants that are due at these bars. Returns the number of new firings.

    Idempotent: after a crash it can run again on the same bars and adds only the firings that are missing.
    """
    fired = 0
    for start in range(0, len(owners), OWNERS_PER_BLOCK):
        block = owners[start : start + OWNERS_PER_BLOCK]
        condition_pass.conditions.evict_oldest()
        async with database.tenants(block) as connection:
            hashes = await _compiled_conditions(connection, block, batch, condition_pass)
            candidates = await firings.list_due_alerts(
                connection, block, batch.symbol, batch.interval, condition_pass.came_true(hashes), batch.closed_at
            )
            due = [alert for alert in candidates if _firings(alert, condition_pass)]
            new = await _fire(connection, due, condition_pass)
            expired = [alert for alert in candidates if _has_expired(alert, batch.closed_at)]
            if expired:
                await firings.deactivate_expired(connection, expired, batch.closed_at)
            if new:
                point("alerts.before_firing")
        if new:
            point("alerts.after_firing")
        fired += new
    return fired


async def _compiled_conditions(
    connection: Connection, block: Sequence[int], batch: SeriesBatch, condition_pass: ConditionPass
) -> list[bytes]:
    """Return the distinct condition hashes of the block's alerts; reads and compiles those not compiled yet."""
    hashes = await firings.list_conditions(connection, block, batch.symbol, batch.interval)
    unknown = [each for each in hashes if each not in condition_pass.conditions]
    if unknown:
        for row in await firings.get_conditions(connection, block, batch.symbol, batch.interval, unknown):
            _compile(condition_pass, row.condition_hash, row)
    return [each for each in hashes if each in condition_pass.conditions]


def _compile(condition_pass: ConditionPass, condition_hash: bytes, row: firings.ConditionRow | AlertRow) -> None:
    """Compile a condition. An invalid one is logged and does not stop the evaluation of the others."""
    try:
        condition_pass.conditions.compile(condition_hash, row.alert_type, row.condition_data)
    except ConditionFault as error:
        log.error("alert_condition_invalid", condition_hash=condition_hash.hex(), error=str(error))


def _firings(alert: AlertRow, condition_pass: ConditionPass) -> list[Firing]:
    if alert.condition_hash not in condition_pass.conditions:  # changed since its block's conditions were read
        _compile(condition_pass, alert.condition_hash, alert)
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


async def _fire(connection: Connection, candidates: Sequence[AlertRow], condition_pass: ConditionPass) -> int:
    """Fire the candidates that are still due under the lock: one may have been changed or deleted meanwhile."""
    if not candidates:
        return 0
    locked = {
        (alert.user_id, alert.alert_id): alert for alert in await firings.lock_active_alerts(connection, candidates)
    }
    due = {key: _firings(alert, condition_pass) for key, alert in locked.items()}
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
