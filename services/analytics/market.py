"""Follows the series that are watched, and has each closed candle looked at."""

from collections.abc import Sequence
from datetime import datetime

from services.analytics.domain.analysis import Look, look_at
from services.analytics.operations.analyses import prepare_month, write_analyses
from services.analytics.queries.market import find_watchers
from shared.chassis.errors import Unavailable
from shared.chassis.generations import NewestGeneration
from shared.chassis.history import CandleHistory
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.strategy.bars import Bar
from shared.strategy.followed import FollowedSeries


class MarketWatch:
    """Indicators are computed once per series and period, for however many watch it."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, FollowedSeries] = {}
        self._newest = NewestGeneration()
        self._months: set[tuple[int, int]] = set()  # those known to have their partition

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        """A candle heard again gives the same rows, which are there."""
        by_series: dict[str, list[CandleClosed]] = {}
        for event in self._newest.of(events):
            by_series.setdefault(event.series, []).append(event)
        for candles in by_series.values():
            await self._analyse(candles)

    async def _analyse(self, candles: Sequence[CandleClosed]) -> None:
        async with self._database.queue() as connection:
            watchers = await find_watchers(connection, candles[0].symbol, candles[0].interval)
        if not watchers:
            self._series.pop(candles[0].series, None)  # taken up again from the history if somebody comes
            return
        indices = {candle.open_time: await self._index_of(candle) for candle in candles}
        series = self._series[candles[0].series].series
        looks: dict[tuple[datetime, int], Look] = {}

        def look(candle: CandleClosed, ema_period: int) -> Look:
            key = (candle.open_time, ema_period)
            if key not in looks:
                looks[key] = look_at(series, indices[candle.open_time], ema_period)
            return looks[key]

        for candle in candles:
            await self._prepare_month(candle.open_time)
        await write_analyses(self._database, watchers, candles, look)

    async def _prepare_month(self, moment: datetime) -> None:
        month = (moment.year, moment.month)
        if month not in self._months:
            await prepare_month(self._database, moment)
            self._months.add(month)

    async def _index_of(self, candle: CandleClosed) -> int:
        """Where the candle stands in its series, from the anchor on. Raises Unavailable."""
        followed = self._series.setdefault(candle.series, FollowedSeries())
        bar = Bar(to_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume)
        previous_ms = to_ms(candle.previous_open_time) if candle.previous_open_time else None
        index = followed.take(bar, previous_ms)
        if index is None:
            history = await self._history.fetch(candle.symbol, candle.interval, bar.open_time_ms, candle.generation)
            followed.restart(Bar(*vars(each).values()) for each in history)
            index = followed.take(bar, previous_ms)
        if index is None:
            raise Unavailable(f"the history of {candle.series} does not reach its candle yet")
        return index
