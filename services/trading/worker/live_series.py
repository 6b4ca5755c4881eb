"""One series in a worker's memory, and the sessions that follow it."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog
from prometheus_client import Counter

from services.trading.bybit_api import VENUE
from services.trading.domain import LONGEST_SILENCE, is_late
from services.trading.operations.instruments import change_instrument
from services.trading.queries import candles
from services.trading.queries.candle_chain import find_break
from services.trading.venue_clock import VenueClock
from services.trading.worker.candle_repair import CandleRepairer
from services.trading.worker.live_session import STEP_FAULTS, LiveSession
from services.trading.worker.silent_series import SilenceMonitor
from services.trading.worker.step_writer import DecidedStep, QuietStep, StepWriter
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import EPOCH, from_ms, to_ms
from shared.market.contiguous_series import ContiguousSeries
from shared.strategy.bars import INTERVAL_MS, Instrument
from shared.strategy.execution.outcome import StepOutcome

SESSIONS_FAILED = Counter(
    "trading_sessions_failed_total", "Sessions that failed while being stepped; needs an operator"
)

log = structlog.get_logger()


class LiveSeries:
    """Bars from the anchor on, shared by all its sessions. Missed bars are loaded from the stored candles."""

    def __init__(
        self,
        series_id: int,
        symbol: str,
        interval: str,
        generation: int,
        database: Database,
        clock: VenueClock,
        repairer: CandleRepairer,
        writer: StepWriter,
        patience: timedelta = LONGEST_SILENCE,
        wake_live: Callable[[Iterable[UUID]], None] = lambda session_ids: None,
    ) -> None:
        """`wake_live` tells live sessions, which step themselves, that a bar has closed."""
        self.key = (symbol, interval, generation)
        self._series_id = series_id
        self._interval = interval
        self._database = database
        self._clock = clock
        self._repairer = repairer
        self._writer = writer
        self._wake_live = wake_live
        self._broken = False  # a stored bar is missing: no step is taken until it is repaired
        self.series = ContiguousSeries()
        self._opened: tuple[int, Decimal] | None = None
        self.sessions: dict[UUID, LiveSession] = {}
        self.lost: set[UUID] = set()  # dropped; the worker loads them again if it still holds them
        self.failed: set[UUID] = set()  # this worker does not step them again under this lease
        self._silence = SilenceMonitor(interval, clock, patience)

    async def load_stored(self) -> None:
        """Load the stored bars after the last one, and the open of the bar announced after them.

        If a stored bar is missing, stop before the gap and start its repair.
        """
        after = self.series.last_open_time
        async with self._database.untenanted() as connection:
            # Read the announced bar first: then all bars before it are stored already.
            stored = await candles.find_series(connection, VENUE, *self.key)
            gap = await find_break(connection, self._series_id, after)
            bars = await candles.list_bars(connection, self._series_id, after)
        self._broken = gap is not None
        if gap is not None:
            self._repairer.repair(self._series_id, self.key, gap)
            self.series.extend(bar for bar in bars if bar.open_time_ms < to_ms(gap[1]))
            return
        self.series.extend(bars)
        if stored is not None and stored.opened_time is not None and stored.opened_price is not None:
            self._opened = (to_ms(stored.opened_time), stored.opened_price)

    @property
    def last_bar(self) -> datetime | None:
        return self.series.last_open_time

    @property
    def next_bar_due(self) -> datetime:
        """The time at which the bar after the last one should be confirmed; the epoch if there is no bar at all."""
        step = timedelta(milliseconds=INTERVAL_MS[self._interval])
        return self.last_bar + 2 * step if self.last_bar is not None else EPOCH

    @property
    def quiet_for(self) -> timedelta:
        """How long no bar has come, by our own clock."""
        return self._silence.quiet_for

    async def add_session(self, session: LiveSession) -> None:
        """Add a session: replay it to its cursor, then step it through the bars that it missed."""
        if session.is_live:
            self.sessions[session.row.session_id] = session
            return
        try:
            session.replay(self.series)
        except STEP_FAULTS as error:
            self._fail(session, error)
            return
        self.sessions[session.row.session_id] = session
        for index in session.bars_ahead(self.series.bars):
            await self._close_bar(index, [session])
            if session.row.session_id not in self.sessions:
                return
        await self._open_bar([session])

    async def on_opened(self, event: CandleOpened) -> None:
        if self.series.has_passed(event):
            return
        if event.previous_open_time is not None and not self.series.is_next(event):
            await self._catch_up()
            if not self.series.is_next(event):
                return  # the series is already beyond it, or its predecessor is still to come
        self._silence.reset()
        self._opened = (to_ms(event.open_time), event.open)
        await self._open_bar(self.sessions.values())

    async def on_closed(self, event: CandleClosed) -> None:
        if self.series.has_passed(event):
            return
        index = self.series.take(event)
        if index is None:
            log.info("chain_broken", series=event.series, at=to_ms(event.open_time))
            await self._catch_up()
            return
        self._silence.reset()
        await self._close_bar(index, self.sessions.values(), event.venue_time)

    async def watch(self) -> None:
        """Load the bars that a broken or overdue series has missed; begin a silence if it is still overdue."""
        if not self._broken and self._silence.overdue_since(self.series.last_ms) is None:
            return
        await self._catch_up()
        if (since := self._silence.overdue_since(self.series.last_ms)) is not None:
            await self._silence.begin(self._database, self.sessions.values(), since)

    async def apply_instrument(self, instrument: Instrument) -> None:
        """Switch sessions with another instrument to this one; drop those whose lease is lost."""
        for session in list(self.sessions.values()):
            if session.instrument == instrument:
                continue
            async with self._database.tenant(session.lease.user_id) as connection:
                change = await change_instrument(connection, session.lease, instrument)
            if change is None:
                self._drop(session)
            else:
                session.instrument_changes.append(change)

    async def _catch_up(self) -> None:
        """Load and step the bars whose events were missed. The feed stores each bar before it publishes it."""
        known = len(self.series)
        await self.load_stored()
        if len(self.series) > known:
            self._silence.reset()
        for index in range(known, len(self.series)):
            await self._close_bar(index, self.sessions.values())
        await self._open_bar(self.sessions.values())

    async def _open_bar(self, sessions: Iterable[LiveSession]) -> None:
        """Take step 1 of the announced bar, if it is after the last bar, for the sessions that are not past it."""
        last_ms = self.series.last_ms
        if self._opened is None or (last_ms is not None and self._opened[0] <= last_ms):
            return
        time_ms, price = self._opened
        waiting = [session for session in sessions if not session.is_live and session.steps_through(time_ms)]
        _, deciding = self._step(waiting, lambda session: session.on_open(time_ms, price))
        late = is_late(self._clock.latest, from_ms(time_ms), self._interval)
        await self._write(
            [], [DecidedStep(session, outcome, session.last_bar, late) for session, outcome in deciding]
        )

    async def _close_bar(self, index: int, sessions: Iterable[LiveSession], seen: datetime | None = None) -> None:
        """Take steps 2 and 3, and write them.

        `seen` is the exchange's time when the feed saw the bar; None if it was read from the stored candles.
        """
        bar = self.series.bar(index)
        behind = [session for session in sessions if session.steps_through(bar.open_time_ms)]
        last_bar = from_ms(bar.open_time_ms)
        due = last_bar + timedelta(milliseconds=INTERVAL_MS[self._interval])
        await self._silence.end(self._database, behind, due, seen or self._clock.latest)
        self._wake_live(session.row.session_id for session in behind if session.is_live)
        stepped = [session for session in behind if not session.is_live]
        quiet, deciding = self._step(stepped, lambda session: session.on_close(self.series, index))
        late = is_late(self._clock.latest, due, self._interval)
        await self._write(
            [QuietStep(session, last_bar) for session in quiet],
            [DecidedStep(session, outcome, last_bar, late) for session, outcome in deciding],
        )

    def _step(
        self, sessions: Sequence[LiveSession], step: Callable[[LiveSession], StepOutcome]
    ) -> tuple[list[LiveSession], list[tuple[LiveSession, StepOutcome]]]:
        """Step sessions in memory. Returns the quiet ones, and those that decided, with their outcomes."""
        quiet: list[LiveSession] = []
        deciding: list[tuple[LiveSession, StepOutcome]] = []
        for session in sessions:
            try:
                outcome = step(session)
            except STEP_FAULTS as error:
                self._fail(session, error)
                continue
            if outcome.must_be_stored:
                deciding.append((session, outcome))
            else:
                quiet.append(session)
        return quiet, deciding

    async def _write(self, quiet: Sequence[QuietStep], decided: Sequence[DecidedStep]) -> None:
        """Write steps, with those of other series that come at the same time. A session whose step cannot be stored
        fails alone.

        An infrastructure fault is raised only after all writes have ended.
        """
        done = await asyncio.gather(
            self._writer.quiet.write(quiet), self._writer.decided.write(decided), return_exceptions=True
        )
        failed: list[tuple[QuietStep | DecidedStep, Exception]] = []
        for each in done:
            if isinstance(each, BaseException):
                raise each
            failed += each
        for step, fault in failed:
            self._fail(step.session, fault)
        steps: list[QuietStep | DecidedStep] = [*quiet, *decided]
        for step in steps:
            if not step.written and step.session.row.session_id not in self.failed:
                self._drop(step.session)

    def _drop(self, session: LiveSession) -> None:
        """Drop a session whose write changed no row: it may have been stopped, paused or taken over."""
        self.sessions.pop(session.row.session_id, None)
        self.lost.add(session.row.session_id)

    def _fail(self, session: LiveSession, error: Exception) -> None:
        SESSIONS_FAILED.inc()
        log.error("session_failed", session_id=str(session.row.session_id), exc_info=error)
        self.sessions.pop(session.row.session_id, None)
        self.failed.add(session.row.session_id)
