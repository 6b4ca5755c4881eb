"""Alerts that fire: the firing, the count and the event in one transaction, once for an alert and a bar."""

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

OWNERS_AT_ONCE = 500

log = structlog.get_logger()


@dataclass(frozen=True)
class SeriesBatch:
    """Bars of one series that are worked together, up to the one that closed at `closed_at`."""

    symbol: str
    interval: str
    closed_at: datetime


async def fire_alerts(database: Database, owners: Sequence[int], batch: SeriesBatch, bars: ConditionPass) -> int:
    """All alerts of these tenants on a series that are due at these bars; how many firings there are.

    Worked again, as after being killed, it finds the firings that are there and fires the others.
    """
    fired = 0
    for start in range(0, len(owners), OWNERS_AT_ONCE):
        block = owners[start : start + OWNERS_AT_ONCE]
        bars.conditions.forget_oldest()
        async with database.tenants(block) as connection:
            came_true = bars.came_true(await _known_conditions(connection, block, batch, bars))
            looked_at = await firings.list_due_alerts(
                connection, block, batch.symbol, batch.interval, came_true, batch.closed_at
            )
            due = [alert for alert in looked_at if _firings(alert, bars)]
            new = await _fire(connection, due, bars)
            over = [alert for alert in looked_at if _has_ended(alert, batch.closed_at)]
            if over:
                await firings.switch_off_expired(connection, over, batch.closed_at)
            if new:
                point("alerts.before_firing")
        if new:
            point("alerts.after_firing")
        fired += new
    return fired


async def _known_conditions(
    connection: Connection, block: Sequence[int], batch: SeriesBatch, bars: ConditionPass
) -> list[bytes]:
    """Of the block's alerts, each once; what is new among them is read and compiled."""
    hashes = await firings.list_conditions(connection, block, batch.symbol, batch.interval)
    unknown = [each for each in hashes if each not in bars.conditions]
    if unknown:
        for row in await firings.get_conditions(connection, block, batch.symbol, batch.interval, unknown):
            _learn(bars, row.condition_hash, row)
    return [each for each in hashes if each in bars.conditions]


def _learn(bars: ConditionPass, condition_hash: bytes, row: firings.ConditionRow | AlertRow) -> None:
    """One that this program does not understand holds nobody up."""
    try:
        bars.conditions.learn(condition_hash, row.alert_type, row.condition_data)
    except ConditionFault as error:
        log.error("alert_condition_invalid", condition_hash=condition_hash.hex(), error=str(error))


def _firings(alert: AlertRow, bars: ConditionPass) -> list[Firing]:
    if alert.condition_hash not in bars.conditions:  # changed since its block's conditions were read
        _learn(bars, alert.condition_hash, alert)
    timing = Timing(
        alert.watched_from,
        alert.expires_at,
        timedelta(seconds=alert.cooldown_seconds),
        alert.last_triggered,
        alert.repeat,
    )
    return bars.firings(alert.condition_hash, timing)


def _has_ended(alert: AlertRow, moment: datetime) -> bool:
    return alert.expires_at is not None and alert.expires_at < moment


async def _fire(connection: Connection, candidates: Sequence[AlertRow], bars: ConditionPass) -> int:
    """What is due is asked again under the lock: an alert may have been changed or removed meanwhile."""
    if not candidates:
        return 0
    held = {
        (alert.user_id, alert.alert_id): alert for alert in await firings.lock_active_alerts(connection, candidates)
    }
    wanted = {key: _firings(alert, bars) for key, alert in held.items()}
    rows = [
        FiringRow(*key, firing.bar.open_time, firing.bar.closed_at, firing.bar.close, firing.value_seen)
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
    done = [held[key] for key, of_alert in fresh.items() if of_alert and held[key].repeat == "ONCE"]
    if done:
        await firings.switch_off(connection, done)
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
