"""Evaluates alerts on closed candles, all alerts of a series together."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from services.notifications.domain.condition_sets import CompiledConditions, ConditionPass
from services.notifications.domain.firing import ClosedBar
from services.notifications.operations.firing import SeriesBatch, fire_alerts
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.market.demand import find_users
from shared.market.history_client import CandleHistory
from shared.market.series_follower import SeriesFollower
from shared.strategy.bars import INTERVAL_MS


class Evaluator:
    """Evaluates the conditions of a series when its bars close.

    Offsets are committed after the firings, so a bar may be delivered again; it fires no alert twice.
    """

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._follower = SeriesFollower(history)
        self._evaluated: dict[tuple[str, str], datetime] = {}  # symbol, interval → open time of the last bar
        self._conditions = CompiledConditions()

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        await self._follower.handle(events, self._evaluate)

    async def _evaluate(self, candles: Sequence[CandleClosed]) -> bool:
        """Evaluate new candles of one series. Returns whether the series is followed, i.e. has active alerts."""
        symbol, interval = candles[0].symbol, candles[0].interval
        fresh = list(_newer_than(candles, self._evaluated.get((symbol, interval))))
        if not fresh:
            return self._follower.follows(candles[0].series)
        async with self._database.queue() as connection:
            owners = await find_users(connection, symbol, interval)
        if owners:
            series, indices, _ = await self._follower.append(fresh)
            bars = [_closed_bar(*each) for each in zip(indices, fresh, strict=True)]
            batch = SeriesBatch(symbol, interval, bars[-1].closed_at)
            condition_pass = ConditionPass(self._conditions, series, bars)
            await fire_alerts(self._database, owners, batch, condition_pass)
        self._evaluated[symbol, interval] = fresh[-1].open_time
        return bool(owners)


def _newer_than(candles: Sequence[CandleClosed], evaluated: datetime | None) -> Iterator[CandleClosed]:
    """Yield candles after the last evaluated one, ascending.

    Otherwise a candle that is published again would fire alerts that were created after it closed.
    """
    for candle in candles:
        if evaluated is None or candle.open_time > evaluated:
            evaluated = candle.open_time
            yield candle


def _closed_bar(index: int, candle: CandleClosed) -> ClosedBar:
    closed_at = candle.open_time + timedelta(milliseconds=INTERVAL_MS[candle.interval])
    return ClosedBar(index, candle.open_time, closed_at, candle.close, candle.published_at)
