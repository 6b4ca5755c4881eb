"""The generations of one series: those that sessions run on, and the newest, which new sessions take.

All are given the same new bars; they differ in their first bar.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog

from services.trading.feed import queries
from services.trading.feed.demand import SeriesDemand
from services.trading.feed.queries import StoredCandle
from services.trading.feed.settled_bars import SettledBars
from services.trading.queries.candles import SeriesRow, find_last_bar
from shared.chassis.postgres import Database
from shared.strategy.bars import Bar

HISTORY_BARS = 3_000

log = structlog.get_logger()


def depth_for(needed: int) -> int:
    """Return how many bars to fetch if `needed` are demanded. Depths double, so that there are few generations."""
    depth = HISTORY_BARS
    while depth < needed:
        depth *= 2
    return depth


class Generations:
    """The followed generations, `live`, oldest first; empty before `load`."""

    def __init__(self, symbol: str, interval: str, database: Database, settled: SettledBars) -> None:
        self._symbol = symbol
        self._interval = interval
        self._database = database
        self._settled = settled
        self.live: list[SeriesRow] = []

    @property
    def newest(self) -> SeriesRow:
        return self.live[-1]

    async def load(self, demand: SeriesDemand) -> Bar | None:
        """Load the demanded generations and return the last bar.

        Older generations get the bars they miss; a series without bars gets its history.
        """
        async with self._database.tenants(()) as connection:
            *earlier, newest = await queries.get_or_create_generations(connection, self._symbol, self._interval)
            older = [each for each in earlier if demand.includes(each.generation)]
            self.live = [*older, newest]
            for each in older:
                await queries.copy_missing(connection, newest, each)
            last = await find_last_bar(connection, newest.series_id)
        return last if last is not None else await self._store_history(depth_for(demand.history_bars))

    async def _store_history(self, depth: int) -> Bar | None:
        """Store bars from before the series went live. They are for indicators and are never published."""
        bars = await self._settled.fetch_latest(depth)
        async with self._database.tenants(()) as connection:
            if bars:
                await queries.insert_candles(connection, self.newest.series_id, chain_bars(bars, None), "HISTORY")
            await queries.set_reach(connection, self.newest.series_id, depth)
        return bars[-1] if bars else None

    async def deepen(self, needed: int, last: Bar | None) -> bool:
        """Open a new generation if the newest holds too few bars and the exchange has older ones.

        Returns whether it did.
        """
        newest = self.newest
        if needed <= newest.reach:
            return False
        depth = depth_for(needed)
        async with self._database.tenants(()) as connection:
            held = await queries.count_candles(connection, newest.series_id)
        older: list[Bar] = []
        if last is not None and newest.anchor is not None and held < needed:
            older = await self._settled.fetch_before(newest.anchor, depth - held)
        async with self._database.tenants(()) as connection:
            if last is None or not older:
                await queries.set_reach(connection, newest.series_id, needed)
                return False
            await queries.open_generation(connection, newest, chain_bars(older, None), last.open_time, depth)
        log.info("generation_opened", symbol=self._symbol, interval=self._interval, older=len(older))
        return True

    async def store(self, bars: Sequence[Bar], last: Bar | None) -> Mapping[SeriesRow, list[StoredCandle]]:
        """Store confirmed bars that follow `last`, in every generation. Returns them as they are stored."""
        chain = chain_bars(bars, last)
        async with self._database.tenants(()) as connection:
            return {
                series: await queries.insert_candles(connection, series.series_id, chain, "STREAM")
                for series in self.live
            }

    async def list_unannounced(self) -> Mapping[SeriesRow, list[StoredCandle]]:
        async with self._database.tenants(()) as connection:
            return {series: await queries.list_unannounced(connection, series.series_id) for series in self.live}

    async def mark_announced(self, series: SeriesRow, open_times: Sequence[datetime]) -> None:
        async with self._database.tenants(()) as connection:
            await queries.mark_announced(connection, series.series_id, open_times)

    async def mark_opened(self, bar: Bar) -> None:
        async with self._database.tenants(()) as connection:
            for series in self.live:
                await queries.mark_opened(connection, series.series_id, bar)


def chain_bars(bars: Sequence[Bar], last: Bar | None) -> list[StoredCandle]:
    """Pair each bar with the open time of the bar before it."""
    before = [last.open_time if last else None, *(bar.open_time for bar in bars)]
    return [StoredCandle(bar, previous) for bar, previous in zip(bars, before, strict=False)]
