"""Evaluates alerts on closed candles, all alerts of a series together."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.firing import ClosedBar
from services.notifications.operations.firing import SeriesBatch, fire_alerts
from services.notifications.queries.firings import find_owners
from shared.chassis.errors import HistoryTooShort
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.market.generations import NewestGeneration
from shared.market.history_client import CandleHistory
from shared.strategy.bars import INTERVAL_MS, Bar
from shared.strategy.contiguous_series import ContiguousSeries


class Evaluator:
    """Evaluates the conditions of a series when its bars close.

    Offsets are committed after the firings, so a bar may be delivered again; it fires no alert twice.
    """

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, ContiguousSeries] = {}
        self._newest = NewestGeneration()
        self._evaluated: dict[tuple[str, str], datetime] = {}  # symbol, interval → open time of the last bar
        self._conditions = CompiledConditions()

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        by_series = sorted(self._newest.select(events), key=lambda event: event.series)
        for _, group in groupby(by_series, key=lambda event: event.series):
            candles = list(group)
            is_followed = False
            try:
                is_followed = await self._evaluate(candles)
            finally:
                if not is_followed:
                    self._newest.reset(candles[0].symbol, candles[0].interval)
                    self._series.pop(candles[0].series, None)  # the next candle loads it from the history

    async def _evaluate(self, candles: Sequence[CandleClosed]) -> bool:
        """Evaluate new candles of one series. Returns whether the series is followed, i.e. has active alerts."""
        name, symbol, interval = candles[0].series, candles[0].symbol, candles[0].interval
        fresh = list(_newer_than(candles, self._evaluated.get((symbol, interval))))
        if not fresh:
            return name in self._series
        async with self._database.queue() as connection:
            owners = await find_owners(connection, symbol, interval)
        if owners:
            bars = await self._follow(fresh)
            batch = SeriesBatch(symbol, interval, bars[-1].closed_at)
            condition_pass = ConditionPass(self._conditions, self._series[name].series, bars)
            await fire_alerts(self._database, owners, batch, condition_pass)
        self._evaluated[symbol, interval] = fresh[-1].open_time
        return bool(owners)

    async def _follow(self, candles: Sequence[CandleClosed]) -> list[ClosedBar]:
        """Append the candles to their series and return them with their indices, counted from the anchor.

        Raises Unavailable, and HistoryTooShort if the history does not reach a candle yet.
        """
        followed = self._series.setdefault(candles[0].series, ContiguousSeries())
        for candle in candles:
            if _take(followed, candle) is None:
                history = await self._history.fetch(
                    candle.symbol, candle.interval, to_ms(candle.open_time), candle.generation
                )
                followed.restart(Bar(*vars(each).values()) for each in history)
        bars = []
        for candle in candles:
            index = _take(followed, candle)
            if index is None:
                raise HistoryTooShort(f"the history of {candle.series} does not reach its candle yet")
            closed_at = candle.open_time + timedelta(milliseconds=INTERVAL_MS[candle.interval])
            bars.append(ClosedBar(index, candle.open_time, closed_at, candle.close, candle.published_at))
        return bars


def _newer_than(candles: Sequence[CandleClosed], evaluated: datetime | None) -> Iterator[CandleClosed]:
    """Yield candles after the last evaluated one, ascending.

    A candle that is published again later would fire alerts that were created after it closed.
    """
    for candle in candles:
        if evaluated is None or candle.open_time > evaluated:
            evaluated = candle.open_time
            yield candle


def _take(followed: ContiguousSeries, candle: CandleClosed) -> int | None:
    bar = Bar(to_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume)
    return followed.take(bar, to_ms(candle.previous_open_time) if candle.previous_open_time else None)
