"""Notify tenants of problems with their sessions, once per cause."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import structlog

from services.trading.domain import FEED_SILENT, Waiting
from services.trading.orders.store import Incident
from services.trading.queries import alarms, sessions
from services.trading.queries.alarms import NewIncident
from services.trading.queries.sessions import SessionLease
from shared.chassis.events.outbox import emit
from shared.chassis.postgres import Connection
from shared.contracts.trading import SessionAlarmed

SESSION_FAILED = "session_failed"
KILL_SWITCH_ON = "kill_switch_on"
# Of live sessions: the incidents of their orders, and what stops their entries.
ORDER_REASONS = (
    "order_refused",
    "stop_refused",
    "stop_not_moved",
    "leverage_refused",
    "key_rejected",
    "unprotected",
    "foreign_change",
    "unknown_order",
    "entry_stale",
    "fee_in_other_coin",
    "account_risk",
    "not_reconciled",
    "taken_over",
)

log = structlog.get_logger()


class Cause(NamedTuple):
    """The reason of an alarm, and since when it has applied."""

    reason: str
    since: datetime


async def alarm_silence(connection: Connection, leases: Sequence[SessionLease], since: datetime) -> list[UUID]:
    """Stop entries of these sessions, because their candles are overdue, and notify their tenants.

    Returns the sessions that were not marked before.
    """
    marked = await alarms.lock_leases(connection, leases, silent=False)
    if marked:
        users = {lease.user_id for lease in leases}
        await alarms.set_silent(connection, users, marked, since)
        await alarms.insert_restrictions(connection, users, marked, "FEED_SILENT")
        await _emit_alarms(connection, users, dict.fromkeys(marked, Cause(FEED_SILENT, since)))
    return marked


async def lift_silence(connection: Connection, leases: Sequence[SessionLease]) -> None:
    """Allow entries again, from the bar after each session's last one, because candles arrive on time again."""
    marked = await alarms.lock_leases(connection, leases, silent=True)
    if marked:
        users = {lease.user_id for lease in leases}
        await alarms.set_silent(connection, users, marked, None)
        await alarms.insert_restrictions(connection, users, marked, "FEED_SILENT_LIFTED")


async def alarm_waiting(connection: Connection, waits: Sequence[tuple[SessionLease, Waiting]]) -> None:
    """Mark these sessions as waiting for a bar.

    Tenants are notified only of sessions that never had a bar; for later bars, the silence alarm notifies them.
    """
    if not await alarms.is_feed_led(connection):
        waits = [(lease, replace(waiting, what="feed")) for lease, waiting in waits]
    marked = set(await alarms.mark_waiting(connection, waits))
    users = {lease.user_id for lease, _ in waits}
    rows = {row.session_id: row for row in await alarms.list_awaiting(connection, users, sorted(marked))}
    await sessions.touch_sessions(connection, users, sorted(marked))
    causes: dict[UUID, Cause] = {}
    for lease, waiting in waits:
        if (row := rows.get(lease.session_id)) is None:
            continue
        expected = waiting.expected_at.isoformat()
        log.warning("session_waits", session_id=str(lease.session_id), what=waiting.what, expected_at=expected)
        if row.last_bar is None:
            causes[lease.session_id] = Cause(f"waiting_for_{waiting.what}", waiting.since)
    if causes:
        await _emit_alarms(connection, users, causes)


async def lift_waiting(connection: Connection, leases: Sequence[SessionLease]) -> None:
    """Clear the waiting marks of these sessions, because bars have arrived."""
    cleared = await alarms.clear_waiting(connection, leases)
    await sessions.touch_sessions(connection, {lease.user_id for lease in leases}, cleared)


async def alarm_failure(connection: Connection, lease: SessionLease, since: datetime) -> None:
    """Notify the tenant that their session cannot be stepped, once however many workers fail on it."""
    if await alarms.mark_failed(connection, lease, since):
        await _emit_alarms(connection, [lease.user_id], {lease.session_id: Cause(SESSION_FAILED, since)})


async def alarm_incidents(
    connection: Connection, found: Sequence[tuple[SessionLease, Sequence[Incident], datetime]]
) -> None:
    """Record what happened to sessions' orders, and notify their tenants of what is new. `found`: the session, its
    incidents, and the exchange's time."""
    rows = [
        NewIncident(lease.user_id, lease.session_id, incident.key, incident.kind, dict(incident.detail))
        for lease, incidents, _ in found
        for incident in incidents
    ]
    if not rows:
        return
    times = {lease.session_id: now for lease, _, now in found}
    for incident in await alarms.insert_incidents(connection, rows):
        cause = Cause(incident.kind, times[incident.session_id])
        await _emit_alarms(connection, [incident.user_id], {incident.session_id: cause}, incident.detail)


async def alarm_cause(
    connection: Connection,
    users: Collection[int],
    session_ids: Sequence[UUID],
    reason: str,
    since: datetime,
    detail: Mapping[str, str],
) -> None:
    """Notify the tenants of these sessions of a change that the caller makes once."""
    if session_ids:
        await _emit_alarms(connection, users, dict.fromkeys(session_ids, Cause(reason, since)), detail)


async def _emit_alarms(
    connection: Connection,
    users: Collection[int],
    causes: Mapping[UUID, Cause],
    detail: Mapping[str, str] | None = None,
) -> None:
    """Emit one event for each session."""
    rows = await alarms.increment_event_seq(connection, users, list(causes))
    events = [
        SessionAlarmed(
            user_id=row.user_id,
            public_id=row.public_id,
            aggregate=f"session:{row.session_id}",
            aggregate_seq=row.event_seq,
            session_id=row.session_id,
            symbol=row.symbol,
            reason=causes[row.session_id].reason,
            since=causes[row.session_id].since,
            details=tuple(f"{name}: {value}" for name, value in (detail or {}).items()),
        )
        for row in rows
    ]
    await emit(connection, *events)
