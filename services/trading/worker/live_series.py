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
from services.trading.queries import candles, decisions, leases, trades
from services.trading.queries.candle_chain import find_break
from services.trading.venue_clock import VenueClock
from services.trading.worker.candle_repair import Mender
from services.trading.worker.live_session import STEP_FAULTS, LiveSession
from services.trading.worker.silent_series import Silence
from shared.chassis.crash_points import point
from shared.chassis.infrastructure_faults import is_infrastructure
from shared.chassis.postgres import Connection, Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import EPOCH, from_ms, to_ms
from shared.strategy.bars import INTERVAL_MS, Bar, Instrument
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.series import Series

AT_ONCE = 6

STEPS_DECIDED = Counter("trading_steps_decided_total", "Steps of sessions that decided something")
STEPS_QUIET = Counter("trading_steps_quiet_total", "Steps of sessions that moved the cursor only")
SESSIONS_FAILED = Counter("trading_sessions_failed_total", "Sessions that could not be stepped: somebody must look")

log = structlog.get_logger()


class LiveSeries:
    """Bars from the anchor on, shared by all its sessions; a broken chain is healed from the stored candles."""

    def __init__(
        self,
        series_id: int,
        symbol: str,
        interval: str,
        generation: int,
        database: Database,
        clock: VenueClock,
        mender: Mender,
        patience: timedelta = LONGEST_SILENCE,
    ) -> None:
        self.key = (symbol, interval, generation)
        self._series_id = series_id
        self._interval = interval
        self._database = database
        self._clock = clock
        self._mender = mender
        self._broken = False  # a stored bar is missing: nothing goes on before it is there
        self._series = Series()
        self._opened: tuple[int, Decimal] | None = None
        self.sessions: dict[UUID, LiveSession] = {}
        self.lost: set[UUID] = set()  # to be looked at again by the worker
        self.failed: set[UUID] = set()  # not to be stepped again by this worker under this lease
        self._silence = Silence(interval, clock, patience)
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def heal(self) -> None:
        """Take in what is stored beyond the last bar, and the open of the bar announced since; up to where a bar is
        missing from what is stored."""
        after = from_ms(self._series.bars[-1].open_time_ms) if len(self._series) else None
        async with self._database.untenanted() as connection:
            # The announced bar first: every bar before it is stored by then.
            stored = await candles.get_series(connection, VENUE, *self.key)
            broken = await find_break(connection, self._series_id, after)
            bars = await candles.list_bars(connection, self._series_id, after)
        self._broken = broken is not None
        if broken is not None:
            self._mender.mend(self._series_id, self.key, broken)
            self._series.extend(bar for bar in bars if bar.open_time_ms < to_ms(broken[1]))
            return
        self._series.extend(bars)
        if stored is not None and stored.opened_time is not None and stored.opened_price is not None:
            self._opened = (to_ms(stored.opened_time), stored.opened_price)

    @property
    def _last_ms(self) -> int | None:
        return self._series.bars[-1].open_time_ms if len(self._series) else None

    @property
    def last_bar(self) -> datetime | None:
        return from_ms(self._last_ms) if self._last_ms is not None else None

    @property
    def awaited_at(self) -> datetime:
        """When the bar after the last one should be confirmed; long ago where there is none at all."""
        step = timedelta(milliseconds=INTERVAL_MS[self._interval])
        return from_ms(self._last_ms) + 2 * step if self._last_ms is not None else EPOCH

    @property
    def unheard_for(self) -> timedelta:
        """How long no bar has come, by our own clock."""
        return self._silence.unheard_for

    async def join(self, session: LiveSession) -> None:
        """Take a session up where it stands: replayed to its cursor, then through what it has missed."""
        try:
            session.replay(self._series)
        except STEP_FAULTS as error:
            self._fail(session, error)
            return
        self.sessions[session.row.session_id] = session
        for index in session.bars_ahead(self._series.bars):
            await self._close_bar(index, [session])
            if session.row.session_id not in self.sessions:
                return
        await self._open_bar([session])

    async def on_opened(self, event: CandleOpened) -> None:
        time_ms = to_ms(event.open_time)
        if self._last_ms is not None and time_ms <= self._last_ms:
            return
        if event.previous_open_time is not None and to_ms(event.previous_open_time) != self._last_ms:
            await self._catch_up()
            if self._last_ms != to_ms(event.previous_open_time):
                return  # beyond it already, or its predecessor is still to come
        self._silence.hear()
        self._opened = (time_ms, event.open)
        await self._open_bar(self.sessions.values())

    async def on_closed(self, event: CandleClosed) -> None:
        time_ms = to_ms(event.open_time)
        if self._last_ms is not None and time_ms <= self._last_ms:
            return
        previous_ms = to_ms(event.previous_open_time) if event.previous_open_time else None
        if previous_ms != self._last_ms:
            log.info("chain_broken", series=event.series, at=time_ms)
            await self._catch_up()
            return
        self._silence.hear()
        self._series.append(Bar(time_ms, event.open, event.high, event.low, event.close, event.volume))
        await self._close_bar(len(self._series) - 1, self.sessions.values(), event.venue_time)

    async def watch(self) -> None:
        """Whether it goes on: after what is missing came, or in a silence. What is stored, and was not said, is no
        silence."""
        if not self._broken and self._silence.since(self._last_ms) is None:
            return
        await self._catch_up()
        if (since := self._silence.since(self._last_ms)) is not None:
            await self._silence.begin(self._database, self.sessions.values(), since)

    async def take_instrument(self, instrument: Instrument) -> None:
        """Sessions that enter by another one go on with it; those whose lease is lost are looked at again."""
        for session in list(self.sessions.values()):
            if session.instrument == instrument:
                continue
            change = await change_instrument(self._database, session.lease, instrument)
            if change is None:
                self._drop(session)
            else:
                session.instrument_changes.append(change)

    async def _catch_up(self) -> None:
        """The stored candles have what the events did not bring: a bar is stored before it is said."""
        known = len(self._series)
        await self.heal()
        if len(self._series) > known:
            self._silence.hear()
        for index in range(known, len(self._series)):
            await self._close_bar(index, self.sessions.values())
        await self._open_bar(self.sessions.values())

    async def _open_bar(self, sessions: Iterable[LiveSession]) -> None:
        """Step 1 for those who wait for it, if a bar is announced beyond the last one."""
        if self._opened is None or (self._last_ms is not None and self._opened[0] <= self._last_ms):
            return
        time_ms, price = self._opened
        waiting = [session for session in sessions if session.steps_through(time_ms)]
        _, deciding = self._step(waiting, lambda session: session.on_open(time_ms, price))
        late = is_late(self._clock.latest, from_ms(time_ms), self._interval)
        await self._write([(session, outcome, session.last_bar) for session, outcome in deciding], late=late)

    async def _close_bar(self, index: int, sessions: Iterable[LiveSession], seen: datetime | None = None) -> None:
        """Steps 2 and 3: what decides is written session by session, what does not all at once. `seen` is the
        exchange's clock when the feed saw the bar; None: it is taken from the stored candles, now."""
        bar = self._series.bar(index)
        behind = [session for session in sessions if session.steps_through(bar.open_time_ms)]
        last_bar = from_ms(bar.open_time_ms)
        due = last_bar + timedelta(milliseconds=INTERVAL_MS[self._interval])
        await self._silence.end(self._database, behind, due, seen or self._clock.latest)
        quiet, deciding = self._step(behind, lambda session: session.on_close(self._series, index))
        late = is_late(self._clock.latest, due, self._interval)
        await self._move_cursors(quiet, last_bar)
        await self._write([(session, outcome, last_bar) for session, outcome in deciding], late=late)

    def _step(
        self, sessions: Sequence[LiveSession], step: Callable[[LiveSession], StepOutcome]
    ) -> tuple[list[LiveSession], list[tuple[LiveSession, StepOutcome]]]:
        """In memory only: the quiet ones, and those that decided with what they did."""
        quiet: list[LiveSession] = []
        deciding: list[tuple[LiveSession, StepOutcome]] = []
        for session in sessions:
            try:
                outcome = step(session)
            except STEP_FAULTS as error:
                self._fail(session, error)
                continue
            if outcome.decides:
                deciding.append((session, outcome))
            else:
                quiet.append(session)
        return quiet, deciding

    async def _write(
        self, steps: Sequence[tuple[LiveSession, StepOutcome, datetime | None]], *, late: bool
    ) -> None:
        """A transaction each, a few at once. A session whose step cannot be stored fails alone. All are through
        before a fault of the infrastructure goes on its way."""

        async def one(session: LiveSession, outcome: StepOutcome, last_bar: datetime | None) -> bool:
            async with self._gate:
                return await session.write(self._database, outcome, last_bar, late=late)

        written = await asyncio.gather(*(one(*step) for step in steps), return_exceptions=True)
        away: BaseException | None = None
        for (session, _, _), done in zip(steps, written, strict=True):
            if isinstance(done, Exception) and not is_infrastructure(done):
                self._fail(session, done)
            elif isinstance(done, BaseException):
                away = done
            elif not done:
                self._drop(session)
        if away is not None:
            raise away
        STEPS_DECIDED.inc(len(steps))

    async def _move_cursors(self, quiet: Sequence[LiveSession], last_bar: datetime) -> None:
        """What decided nothing moves on together."""
        if not quiet:
            return
        async with self._database.tenants({session.row.user_id for session in quiet}) as connection:
            moved = await _move_quietly(connection, quiet, last_bar)
        point("worker.after_quiet_step")
        for session in quiet:
            if session.row.session_id in moved:
                session.last_bar = last_bar
            else:
                self._drop(session)
        STEPS_QUIET.inc(len(quiet))

    def _drop(self, session: LiveSession) -> None:
        """It may have been stopped, paused or taken over: what the database says counts."""
        self.sessions.pop(session.row.session_id, None)
        self.lost.add(session.row.session_id)

    def _fail(self, session: LiveSession, error: Exception) -> None:
        SESSIONS_FAILED.inc()
        log.error("session_failed", session_id=str(session.row.session_id), exc_info=error)
        self.sessions.pop(session.row.session_id, None)
        self.failed.add(session.row.session_id)


async def _move_quietly(connection: Connection, quiet: Sequence[LiveSession], last_bar: datetime) -> set[UUID]:
    """Returns those that were moved. What a lease allows must hold while a refusal by it is only prolonged: those
    leases are locked, and one that is not free is looked at again."""
    if held := [session.lease for session in quiet if session.held_again]:
        standing = await leases.lock_entries(connection, held)
        quiet = [each for each in quiet if not each.held_again or each.row.session_id in standing]
    moved = await trades.move_cursors(
        connection, [each.lease for each in quiet], [each.last_bar for each in quiet], last_bar
    )
    if ended := [each for each in quiet if each.ends_refusal and each.row.session_id in moved]:
        await decisions.end_refusals(
            connection,
            [each.row.user_id for each in ended],
            [each.row.session_id for each in ended],
            [each.last_bar for each in ended],
        )
    return moved
