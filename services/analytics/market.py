"""Follows watched series and analyses each closed candle, including candles missed during a gap."""

from collections.abc import Iterable, Sequence

from services.analytics.domain.analysis import SeriesAnalysis
from services.analytics.operations.analyses import prepare_month, write_analyses, write_missing
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.market.demand import find_users
from shared.market.history_client import CandleHistory
from shared.market.series_follower import SeriesFollower
from shared.strategy.series import Series

MAX_BACKFILL_BARS = 10_000  # a week of 1-minute bars; outages of broker or feed are shorter


class MarketWatch:
    """Analyses closed candles. Indicators are computed once per series and period, however many users watch it."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._follower = SeriesFollower(history)
        self._months: set[tuple[int, int]] = set()  # months that have their partition

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        """Analyse candles. Idempotent: a redelivered candle gives rows that exist already."""
        await self._follower.handle(events, self._analyse)

    async def _analyse(self, candles: Sequence[CandleClosed]) -> bool:
        """Analyse candles of one series. Returns whether the series is followed, i.e. has watchers."""
        first = candles[0]
        async with self._database.queue() as connection:
            watchers = await find_users(connection, first.symbol, first.interval)
        if not watchers:
            return False
        series, indices, is_loaded = await self._follower.append(candles)
        analysis = SeriesAnalysis(first.series, first.symbol, first.interval, series)
        if is_loaded:  # candles before these may have been missed
            before = range(max(0, min(indices) - MAX_BACKFILL_BARS), min(indices))
            await self._prepare_months(series, before)
            await write_missing(self._database, watchers, analysis, before)
        await self._prepare_months(series, indices)
        await write_analyses(self._database, watchers, analysis, indices)
        return True

    async def _prepare_months(self, series: Series, indices: Iterable[int]) -> None:
        for index in indices:
            moment = series.bar(index).open_time
            month = (moment.year, moment.month)
            if month not in self._months:
                await prepare_month(self._database, moment)
                self._months.add(month)
