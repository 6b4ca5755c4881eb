"""Detects silent series, whose candles do not come: their sessions stop entering, and tenants are notified."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from services.trading.domain import LONGEST_SILENCE
from services.trading.operations.alarms import alarm_silence, lift_silence
from services.trading.venue_clock import VenueClock
from services.trading.worker.live_session import LiveSession
from shared.chassis.postgres import Database
from shared.contracts.types import from_ms
from shared.strategy.bars import INTERVAL_MS


class SilenceMonitor:
    """Watches one series. Silence is measured by the exchange's clock; `patience` must also pass by our own clock,
    because in a replay the exchange's clock may suddenly be far ahead of the feed."""

    def __init__(self, interval: str, clock: VenueClock, patience: timedelta) -> None:
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._clock = clock
        self._patience = patience
        self._last_bar_at = time.monotonic()

    def reset(self) -> None:
        self._last_bar_at = time.monotonic()

    @property
    def quiet_for(self) -> timedelta:
        """How long no bar has come, by our own clock."""
        return timedelta(seconds=time.monotonic() - self._last_bar_at)

    def overdue_since(self, last_ms: int | None) -> datetime | None:
        """Return when the next bar was due, if it is overdue by more than `LONGEST_SILENCE`, else None."""
        if last_ms is None or self.quiet_for < self._patience:
            return None
        due = from_ms(last_ms) + 2 * self._step
        return due if self._clock.estimated > due + LONGEST_SILENCE else None

    async def begin(self, database: Database, sessions: Iterable[LiveSession], since: datetime) -> None:
        """Mark the sessions that are not marked yet, such as newly started ones."""
        entering = [session for session in sessions if session.lease.silent_since is None]
        if not entering:
            return
        leases = [session.lease for session in entering]
        async with database.tenants({lease.user_id for lease in leases}) as connection:
            marked = set(await alarm_silence(connection, leases, since))
        for session in entering:
            if session.row.session_id in marked:
                session.lease = replace(session.lease, silent_since=since)

    async def end(self, database: Database, sessions: Sequence[LiveSession], due: datetime, seen: datetime) -> None:
        """End the silence if the bar came in time. Bars that come late still belong to the silence."""
        silent = [session for session in sessions if session.lease.silent_since is not None]
        if not silent or seen > due + LONGEST_SILENCE:
            return
        leases = [session.lease for session in silent]
        async with database.tenants({lease.user_id for lease in leases}) as connection:
            await lift_silence(connection, leases)
        for session in silent:
            session.lease = replace(session.lease, silent_since=None)
