"""Marks sessions whose bar is a minute overdue with what they wait for, until a bar comes."""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

from prometheus_client import Gauge

from services.trading.domain import AWAITED, Waiting, awaited_bar
from services.trading.operations.alarms import alarm_waiting, lift_waiting
from services.trading.queries import alarms
from services.trading.queries.sessions import SessionLease
from services.trading.venue_clock import VenueClock
from services.trading.worker.live_series import LiveSeries
from services.trading.worker.live_session import LiveSession
from shared.chassis.postgres import Database

LONGEST_WAIT = timedelta(minutes=1)  # beyond the time at which the bar was expected

WAITING = Gauge("trading_sessions_waiting", "Sessions without a bar a minute after it was expected", ["what"])


class OverdueMonitor:
    """Watches the sessions of one worker. As with silence, `patience` must also pass by our own clock."""

    def __init__(self, database: Database, clock: VenueClock, patience: timedelta) -> None:
        self._database = database
        self._clock = clock
        self._patience = patience
        self._unfollowed_since: dict[UUID, float] = {}  # sessions that we hold and that follow no series

    async def update_marks(
        self, held: Mapping[UUID, SessionLease], series: Collection[LiveSeries], unfollowed: Collection[UUID]
    ) -> None:
        """Mark the sessions that have waited too long; clear the marks of those whose bars have come."""
        overdue = self._find_in_series(series)
        overdue.update(await self._find_unfollowed(held, unfollowed))
        new = [(held[each], waiting) for each, waiting in overdue.items() if _is_unmarked(held.get(each))]
        over = [session.lease for each in series for session in each.sessions.values() if self._is_over(session)]
        if new:
            async with self._database.tenants({lease.user_id for lease, _ in new}) as connection:
                await alarm_waiting(connection, new)
        if over:
            async with self._database.tenants({lease.user_id for lease in over}) as connection:
                await lift_waiting(connection, over)
        counted = Counter(lease.waiting_for for lease in held.values())
        for what in AWAITED:
            WAITING.labels(what).set(counted[what])

    def _find_in_series(self, series: Iterable[LiveSeries]) -> dict[UUID, Waiting]:
        """Find the sessions that follow a series whose next bar is overdue."""
        return {
            session_id: waiting
            for each in series
            if each.quiet_for >= self._patience and self._is_overdue(each.next_bar_due)
            for session_id, session in each.sessions.items()
            if self._is_overdue((waiting := _waiting(session, each.last_bar)).expected_at)
        }

    async def _find_unfollowed(
        self, held: Mapping[UUID, SessionLease], unfollowed: Collection[UUID]
    ) -> dict[UUID, Waiting]:
        """Find the sessions without a series that are overdue and not marked."""
        now, patience_s = time.monotonic(), self._patience.total_seconds()
        self._unfollowed_since = {each: self._unfollowed_since.get(each, now) for each in unfollowed}
        long = [
            held[each]
            for each, since in self._unfollowed_since.items()
            if now - since >= patience_s and _is_unmarked(held.get(each))
        ]
        if not long:
            return {}
        users = {lease.user_id for lease in long}
        async with self._database.tenants(users) as connection:
            rows = await alarms.list_awaiting(connection, users, [lease.session_id for lease in long])
        found = {
            row.session_id: awaited_bar(row.start_time, row.last_bar, row.interval, has_history=False)
            for row in rows
        }
        return {each: waiting for each, waiting in found.items() if self._is_overdue(waiting.expected_at)}

    def _is_over(self, session: LiveSession) -> bool:
        """Return whether a bar has come since the mark was set. A wait for a later bar gets a mark of its own."""
        if session.lease.waiting_for is None or session.last_bar is None:
            return False
        never_had_one = session.lease.waiting_for in ("history", "first_bar")
        return never_had_one or not self._is_overdue(_waiting(session, session.last_bar).expected_at)

    def _is_overdue(self, expected_at: datetime) -> bool:
        return self._clock.estimated > expected_at + LONGEST_WAIT


def _waiting(session: LiveSession, last_of_series: datetime | None) -> Waiting:
    row = session.row
    return awaited_bar(row.start_time, session.last_bar, row.interval, has_history=last_of_series is not None)


def _is_unmarked(lease: SessionLease | None) -> bool:
    return lease is not None and lease.waiting_for is None
