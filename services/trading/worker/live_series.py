"""One series in a worker's memory, and the sessions that follow it."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import structlog

from services.trading.domain import is_late
from services.trading.queries import candles, trades
from services.trading.venue_clock import VenueClock
from services.trading.worker.live_session import LiveSession, Taken
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import INTERVAL_MS, Bar
from shared.strategy.series import Series

AT_ONCE = 6

log = structlog.get_logger()


class LiveSeries:
    """Bars from the anchor on, shared by all its sessions; a broken chain is healed from the stored candles."""

    def __init__(
        self, series_id: int, symbol: str, interval: str, generation: int, database: Database, clock: VenueClock
    ) -> None:
        self.key = (symbol, interval, generation)
        self._series_id = series_id
        self._interval = interval
        self._database = database
        self._clock = clock
        self._series = Series()
        self._opened: tuple[int, Decimal] | None = None
        self.sessions: dict[UUID, LiveSession] = {}
        self.lost: set[UUID] = set()  # to be looked at again by the worker
        self._gate = asyncio.Semaphore(AT_ONCE)

    async def heal(self) -> None:
        """Take in what is stored beyond the last bar."""
        after = from_ms(self._series.bars[-1].open_time_ms) if len(self._series) else None
        async with self._database.untenanted() as connection:
            bars = await candles.list_bars(connection, self._series_id, after)
        self._series.extend(bars)

    async def join(self, session: LiveSession) -> None:
        """Take a session up where it stands: replayed to its cursor, then through what it has missed."""
        session.replay(self._series)
        self.sessions[session.row.session_id] = session
        for index in session.bars_ahead(self._series.bars):
            await self._close_bar(index, [session])
        if self._opened is not None:
            await self._open_bar(*self._opened, [session])

    async def on_opened(self, event: CandleOpened) -> None:
        time_ms = to_ms(event.open_time)
        last_ms = self._series.bars[-1].open_time_ms if len(self._series) else None
        if last_ms is not None and time_ms <= last_ms:
            return
        if event.previous_open_time is not None and to_ms(event.previous_open_time) != last_ms:
            await self._catch_up()
            last_ms = self._series.bars[-1].open_time_ms if len(self._series) else None
            if last_ms != to_ms(event.previous_open_time):
                return  # its predecessor is still to come
        self._opened = (time_ms, event.open)
        await self._open_bar(time_ms, event.open, self.sessions.values())

    async def on_closed(self, event: CandleClosed) -> None:
        time_ms = to_ms(event.open_time)
        last_ms = self._series.bars[-1].open_time_ms if len(self._series) else None
        if last_ms is not None and time_ms <= last_ms:
            return
        previous_ms = to_ms(event.previous_open_time) if event.previous_open_time else None
        if previous_ms != last_ms:
            log.info("chain_broken", series=event.series, at=time_ms)
            await self._catch_up()
            return
        self._series.append(Bar(time_ms, event.open, event.high, event.low, event.close, event.volume))
        await self._close_bar(len(self._series) - 1, self.sessions.values())

    async def _catch_up(self) -> None:
        """The stored candles have what the events did not bring: a bar is stored before it is said."""
        known = len(self._series)
        await self.heal()
        for index in range(known, len(self._series)):
            await self._close_bar(index, self.sessions.values())

    async def _open_bar(self, time_ms: int, price: Decimal, sessions: Iterable[LiveSession]) -> None:
        late = is_late(self._clock.latest, from_ms(time_ms), self._interval)
        waiting = [session for session in sessions if session.execution.pending]
        await self._each(waiting, lambda session: session.on_open(self._database, time_ms, price, late=late))

    async def _close_bar(self, index: int, sessions: Iterable[LiveSession]) -> None:
        bar = self._series.bar(index)
        due = from_ms(bar.open_time_ms) + timedelta(milliseconds=INTERVAL_MS[self._interval])
        late = is_late(self._clock.latest, due, self._interval)
        behind = [
            session
            for session in sessions
            if session.cursor_ms < bar.open_time_ms and bar.open_time_ms >= session.first_bar_ms
        ]
        quiet = await self._each(
            behind, lambda session: session.on_close(self._database, self._series, index, late=late)
        )
        await self._move_cursors(quiet, from_ms(bar.open_time_ms))

    async def _each(
        self, sessions: Iterable[LiveSession], step: Callable[[LiveSession], Awaitable[Taken]]
    ) -> list[LiveSession]:
        """Step them, a few at once; the quiet ones. One that may not write is dropped, to be looked at again."""

        async def guarded(session: LiveSession) -> Taken:
            async with self._gate:
                return await step(session)

        stepped = list(sessions)
        taken = await asyncio.gather(*(guarded(session) for session in stepped))
        for session, what in zip(stepped, taken, strict=True):
            if what == "lost":
                self._drop(session)
        return [session for session, what in zip(stepped, taken, strict=True) if what == "quiet"]

    async def _move_cursors(self, quiet: list[LiveSession], last_bar: datetime) -> None:
        """What decided nothing moves on together."""
        if not quiet:
            return
        async with self._database.tenants({session.row.user_id for session in quiet}) as connection:
            moved = await trades.move_cursors(
                connection,
                [session.lease for session in quiet],
                [session.last_bar for session in quiet],
                last_bar,
            )
        for session in quiet:
            if session.row.session_id in moved:
                session.last_bar = last_bar
            else:
                self._drop(session)

    def _drop(self, session: LiveSession) -> None:
        self.sessions.pop(session.row.session_id, None)
        self.lost.add(session.row.session_id)
