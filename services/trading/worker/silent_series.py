"""Whether a series' candles stay away: then its sessions enter nothing, and their tenants are told."""

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


class Silence:
    """Of one series. It is told by the exchange's clock; `patience` of our own has to pass as well, as a replay may
    be far ahead of its feed within a moment."""

    def __init__(self, interval: str, clock: VenueClock, patience: timedelta) -> None:
        self._step = timedelta(milliseconds=INTERVAL_MS[interval])
        self._clock = clock
        self._patience = patience
        self._heard_at = time.monotonic()

    def hear(self) -> None:
        self._heard_at = time.monotonic()

    @property
    def unheard_for(self) -> timedelta:
        """By our own clock."""
        return timedelta(seconds=time.monotonic() - self._heard_at)

    def since(self, last_ms: int | None) -> datetime | None:
        """When the bar after this one should have been confirmed, if we have waited for it in vain for too long."""
        if last_ms is None or self.unheard_for < self._patience:
            return None
        due = from_ms(last_ms) + 2 * self._step
        return due if self._clock.reckoned > due + LONGEST_SILENCE else None

    async def begin(self, database: Database, sessions: Iterable[LiveSession], since: datetime) -> None:
        """For those that are not marked yet, as one that has just been started."""
        entering = [session for session in sessions if session.lease.silent_since is None]
        if not entering:
            return
        marked = set(await alarm_silence(database, [session.lease for session in entering], since))
        for session in entering:
            if session.row.session_id in marked:
                session.lease = replace(session.lease, silent_since=since)

    async def end(self, database: Database, sessions: Sequence[LiveSession], due: datetime, seen: datetime) -> None:
        """Once a bar comes in time; those that come late are still part of it."""
        silent = [session for session in sessions if session.lease.silent_since is not None]
        if not silent or seen > due + LONGEST_SILENCE:
            return
        await lift_silence(database, [session.lease for session in silent])
        for session in silent:
            session.lease = replace(session.lease, silent_since=None)
