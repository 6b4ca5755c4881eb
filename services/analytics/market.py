"""Looks at each closed candle for everybody who watches its series."""

import math
from collections.abc import Sequence
from decimal import Decimal

from services.analytics import queries
from services.analytics.queries import AnalysisRow, Watch
from shared.chassis.errors import Unavailable
from shared.chassis.history import CandleHistory
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.strategy.bars import Bar
from shared.strategy.followed import FollowedSeries
from shared.strategy.indicators import IndicatorSpec
from shared.strategy.series import Series


class MarketWatch:
    """Indicators are computed once per series and period, for however many watch it."""

    def __init__(self, database: Database, history: CandleHistory) -> None:
        self._database = database
        self._history = history
        self._series: dict[str, FollowedSeries] = {}

    async def on_candle_closed(self, events: Sequence[CandleClosed]) -> None:
        """A candle heard again gives the same rows, which are there."""
        for symbol, interval in dict.fromkeys((event.symbol, event.interval) for event in events):
            of_series = [event for event in events if (event.symbol, event.interval) == (symbol, interval)]
            await self._look(symbol, interval, of_series)

    async def _look(self, symbol: str, interval: str, events: Sequence[CandleClosed]) -> None:
        async with self._database.queue() as connection:
            watchers = await queries.find_watchers(connection, symbol, interval)
        if not watchers:
            return
        bars = [(event, await self._index_of(event)) for event in events]
        async with self._database.tenants(watchers) as connection:
            watches = await queries.list_watches_of_series(connection, watchers, symbol, interval)
            seen = [
                (watch.user_id, analyse(self._series[event.series].series, index, event, watch))
                for event, index in bars
                for watch in watches
            ]
            if seen:
                await queries.insert_analyses(
                    connection, [user_id for user_id, _ in seen], [analysis for _, analysis in seen]
                )

    async def _index_of(self, event: CandleClosed) -> int:
        """Where the candle stands in its series, from the anchor on. Raises Unavailable."""
        followed = self._series.setdefault(event.series, FollowedSeries())
        bar = Bar(to_ms(event.open_time), event.open, event.high, event.low, event.close, event.volume)
        previous_ms = to_ms(event.previous_open_time) if event.previous_open_time else None
        index = followed.take(bar, previous_ms)
        if index is None:
            candles = await self._history.fetch(event.symbol, event.interval, bar.open_time_ms)
            followed.restart(Bar(*vars(candle).values()) for candle in candles)
            index = followed.take(bar, previous_ms)
        if index is None:
            raise Unavailable(f"the history of {event.series} does not reach its candle yet")
        return index


def analyse(series: Series, index: int, event: CandleClosed, watch: Watch) -> AnalysisRow:
    """As TA-Lib gives it from the series' anchor on; None where it is not defined yet.

    The trend is UP where the close is above a rising EMA, DOWN below a falling one, FLAT otherwise.
    """
    period = watch.ema_period
    emas = series.values(IndicatorSpec("EMA", period=period))["value"]
    above = series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=period))["value"]
    distance = series.values(IndicatorSpec("DISTANCE_FROM_EMA", period=period))["value"]
    ema = _decimal(emas[index])
    before = _decimal(emas[index - 1]) if index else None
    return AnalysisRow(
        watch_id=watch.watch_id,
        timestamp=event.open_time,
        symbol=event.symbol,
        interval=event.interval,
        price=event.close,
        ema_value=ema,
        ema_period=period,
        candles_above_ema=None if math.isnan(above[index]) else int(above[index]),
        distance_from_ema=_decimal(distance[index]),
        trend_direction=_trend(event.close, ema, before),
        volume=event.volume,
    )


def _decimal(value: float) -> Decimal | None:
    """An indicator's value as a decimal of 8 places."""
    return Decimal(repr(round(value.__float__(), 8))) if math.isfinite(value) else None


def _trend(price: Decimal, ema: Decimal | None, before: Decimal | None) -> str | None:
    if ema is None or before is None:
        return None
    if price > ema > before:
        return "UP"
    return "DOWN" if price < ema < before else "FLAT"
