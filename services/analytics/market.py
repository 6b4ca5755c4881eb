"""Follows the series that are watched, and has each closed candle looked at, those that were missed too."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from services.analytics.domain.analysis import ClosedBar, Look, closed_bars, look_at
from services.analytics.operations.analyses import Looking, prepare_month, write_analyses, write_missing
from services.analytics.queries.market import find_watchers
from shared.chassis.errors import HistoryTooShort
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.market.generations import NewestGeneration
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from shared.strategy.contiguous_series import ContiguousSeries

REPAIRED = 10_000  # bars at most, a week of minutes; broker and feed are never away for as long

Writing = Callable[[Database, Sequence[int], str, str, Sequence[ClosedBar], Looking], Awaitable[None]]


class MarketWatch:
    """Indicators are computed once per series and period, for however many watch it."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, ContiguousSeries] = {}
        self._newest = NewestGeneration()
        self._unrepaired: set[str] = set()  # taken up from the history: candles may have been missed
        self._months: set[tuple[int, int]] = set()  # those known to have their partition

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        """A candle heard again gives the same rows, which are there."""
        by_series: dict[str, list[CandleClosed]] = {}
        for event in self._newest.of(events):
            by_series.setdefault(event.series, []).append(event)
        for candles in by_series.values():
            is_followed = False
            try:
                is_followed = await self._analyse(candles)
            finally:
                if not is_followed:
                    self._newest.forget(candles[0].symbol, candles[0].interval)
                    self._series.pop(candles[0].series, None)  # taken up again from the history

    async def _analyse(self, candles: Sequence[CandleClosed]) -> bool:
        """Whether the series is followed: somebody watches it."""
        first = candles[0]
        async with self._database.queue() as connection:
            watchers = await find_watchers(connection, first.symbol, first.interval)
        if not watchers:
            return False
        indices = [await self._index_of(candle) for candle in candles]
        series = self._series[first.series].series
        looks: dict[tuple[int, int], Look] = {}

        def look(index: int, ema_period: int) -> Look:
            key = (index, ema_period)
            if key not in looks:
                looks[key] = look_at(series, index, ema_period)
            return looks[key]

        if first.series in self._unrepaired:
            before = closed_bars(series, first.series, range(max(0, min(indices) - REPAIRED), min(indices)))
            await self._write(write_missing, watchers, first, before, look)
            self._unrepaired.discard(first.series)
        bars = closed_bars(series, first.series, indices)
        await self._write(write_analyses, watchers, first, bars, look)
        return True

    async def _write(
        self, write: Writing, watchers: Sequence[int], of: CandleClosed, bars: Sequence[ClosedBar], look: Looking
    ) -> None:
        for bar in bars:
            await self._prepare_month(bar.timestamp)
        await write(self._database, watchers, of.symbol, of.interval, bars, look)

    async def _prepare_month(self, moment: datetime) -> None:
        month = (moment.year, moment.month)
        if month not in self._months:
            await prepare_month(self._database, moment)
            self._months.add(month)

    async def _index_of(self, candle: CandleClosed) -> int:
        """Where the candle stands in its series, from the anchor on. Raises Unavailable."""
        followed = self._series.setdefault(candle.series, ContiguousSeries())
        bar = Bar(to_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume)
        previous_ms = to_ms(candle.previous_open_time) if candle.previous_open_time else None
        index = followed.take(bar, previous_ms)
        if index is None:
            history = await self._history.fetch(candle.symbol, candle.interval, bar.open_time_ms, candle.generation)
            followed.restart(Bar(*vars(each).values()) for each in history)
            self._unrepaired.add(candle.series)
            index = followed.take(bar, previous_ms)
        if index is None:
            raise HistoryTooShort(f"the history of {candle.series} does not reach its candle yet")
        return index
