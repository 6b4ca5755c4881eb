"""Follows watched series and analyses each closed candle, including candles missed during a gap."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from services.analytics.domain.analysis import CandleAnalysis, ClosedBar, analyse_candle, closed_bars
from services.analytics.operations.analyses import Analyse, prepare_month, write_analyses, write_missing
from services.analytics.queries.market import find_watchers
from shared.chassis.errors import HistoryTooShort
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.market.generations import NewestGeneration
from shared.market.history_client import CandleHistory
from shared.strategy.bars import Bar
from shared.strategy.contiguous_series import ContiguousSeries

MAX_BACKFILL_BARS = 10_000  # a week of 1-minute bars; outages of broker or feed are shorter

Write = Callable[[Database, Sequence[int], str, str, Sequence[ClosedBar], Analyse], Awaitable[None]]


class MarketWatch:
    """Analyses closed candles. Indicators are computed once per series and period, however many users watch it."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, ContiguousSeries] = {}
        self._newest = NewestGeneration()
        self._to_backfill: set[str] = set()  # loaded from the history: candles may have been missed
        self._months: set[tuple[int, int]] = set()  # months that have their partition

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        """Analyse candles. Idempotent: a redelivered candle gives rows that exist already."""
        by_series: dict[str, list[CandleClosed]] = {}
        for event in self._newest.select(events):
            by_series.setdefault(event.series, []).append(event)
        for candles in by_series.values():
            is_followed = False
            try:
                is_followed = await self._analyse(candles)
            finally:
                if not is_followed:
                    self._newest.reset(candles[0].symbol, candles[0].interval)
                    self._series.pop(candles[0].series, None)  # the next candle loads it from the history

    async def _analyse(self, candles: Sequence[CandleClosed]) -> bool:
        """Analyse candles of one series. Returns whether the series is followed, i.e. has watchers."""
        first = candles[0]
        async with self._database.queue() as connection:
            watchers = await find_watchers(connection, first.symbol, first.interval)
        if not watchers:
            return False
        indices = [await self._index_of(candle) for candle in candles]
        series = self._series[first.series].series
        analyses: dict[tuple[int, int], CandleAnalysis] = {}

        def analyse(index: int, ema_period: int) -> CandleAnalysis:
            key = (index, ema_period)
            if key not in analyses:
                analyses[key] = analyse_candle(series, index, ema_period)
            return analyses[key]

        if first.series in self._to_backfill:
            before = closed_bars(
                series, first.series, range(max(0, min(indices) - MAX_BACKFILL_BARS), min(indices))
            )
            await self._write(write_missing, watchers, first, before, analyse)
            self._to_backfill.discard(first.series)
        bars = closed_bars(series, first.series, indices)
        await self._write(write_analyses, watchers, first, bars, analyse)
        return True

    async def _write(
        self,
        write: Write,
        watchers: Sequence[int],
        candle: CandleClosed,
        bars: Sequence[ClosedBar],
        analyse: Analyse,
    ) -> None:
        for bar in bars:
            await self._prepare_month(bar.timestamp)
        await write(self._database, watchers, candle.symbol, candle.interval, bars, analyse)

    async def _prepare_month(self, moment: datetime) -> None:
        month = (moment.year, moment.month)
        if month not in self._months:
            await prepare_month(self._database, moment)
            self._months.add(month)

    async def _index_of(self, candle: CandleClosed) -> int:
        """Append the candle to its series and return its index, counted from the anchor.

        Raises Unavailable, and HistoryTooShort if the history does not reach the candle yet.
        """
        followed = self._series.setdefault(candle.series, ContiguousSeries())
        bar = Bar(to_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume)
        previous_ms = to_ms(candle.previous_open_time) if candle.previous_open_time else None
        index = followed.take(bar, previous_ms)
        if index is None:
            history = await self._history.fetch(candle.symbol, candle.interval, bar.open_time_ms, candle.generation)
            followed.restart(Bar(*vars(each).values()) for each in history)
            self._to_backfill.add(candle.series)
            index = followed.take(bar, previous_ms)
        if index is None:
            raise HistoryTooShort(f"the history of {candle.series} does not reach its candle yet")
        return index
