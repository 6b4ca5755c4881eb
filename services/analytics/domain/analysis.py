"""Analysis of a closed candle, with the indicator values of TA-Lib."""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from shared.contracts.types import Amount, from_ms
from shared.strategy.bars import INTERVAL_MS, Bar
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series
from shared.strategy.tolerance import is_above

Trend = Literal["UP", "DOWN", "FLAT"]


class AnalysisData(BaseModel):
    """The content of the column `analysis_data`."""

    version: Literal[1] = 1
    series: str
    open: Amount
    high: Amount
    low: Amount


@dataclass(frozen=True)
class Watch:
    """A watch of any user, reduced to what the analysis needs."""

    user_id: int
    watch_id: UUID
    ema_period: int


@dataclass(frozen=True)
class ClosedBar:
    """A bar of a series and its index in it."""

    index: int
    timestamp: datetime
    data: AnalysisData


@dataclass(frozen=True)
class CandleAnalysis:
    """The analysis of one candle with one EMA period, shared by all watches. None where the EMA is not defined yet.

    Indicator values have all digits of their float64.
    """

    price: Decimal
    ema_value: Decimal | None
    candles_above_ema: int | None
    distance_from_ema: Decimal | None
    trend_direction: Trend | None
    volume: Decimal


def analyse_candle(series: Series, index: int, ema_period: int) -> CandleAnalysis:
    """Analyse the bar at `index` of a series that begins at its anchor."""
    bar: Bar = series.bar(index)
    emas = series.values(IndicatorSpec("EMA", period=ema_period))["value"]
    above = series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=ema_period))["value"]
    distance = series.values(IndicatorSpec("DISTANCE_FROM_EMA", period=ema_period))["value"]
    ema, before = emas[index].item(), emas[index - 1].item() if index else math.nan
    return CandleAnalysis(
        price=bar.close,
        ema_value=decimal_of(ema),
        candles_above_ema=None if math.isnan(above[index]) else int(above[index]),
        distance_from_ema=decimal_of(distance[index].item()),
        trend_direction=trend(series.column("close")[index].item(), ema, before),
        volume=bar.volume,
    )


def closed_bars(series: Series, name: str, indices: Iterable[int]) -> list[ClosedBar]:
    bars = ((index, series.bar(index)) for index in indices)
    return [
        ClosedBar(
            index,
            from_ms(bar.open_time_ms),
            AnalysisData(series=name, open=bar.open, high=bar.high, low=bar.low),
        )
        for index, bar in bars
    ]


def select_missing(
    bars: Sequence[ClosedBar], interval: str, created_at: datetime, last_analysed: datetime | None
) -> Sequence[ClosedBar]:
    """Return the bars, of one series and ascending, that a watch has not analysed yet.

    They are those after the last analysed one or, without any, those closed since the watch was created.
    """
    step = timedelta(milliseconds=INTERVAL_MS[interval])
    since = created_at - step if last_analysed is None else last_analysed
    return bars[bisect_right(bars, since, key=lambda bar: bar.timestamp) :]


def trend(price: float, ema: float, ema_before: float) -> Trend | None:
    """Return UP if the close is above a rising EMA, DOWN if it is below a falling one, else FLAT.

    Returns None if an EMA is not defined. Values that differ only by rounding are equal, as in conditions.
    """
    if not (math.isfinite(ema) and math.isfinite(ema_before)):
        return None
    if is_above(price, ema) and is_above(ema, ema_before):
        return "UP"
    return "DOWN" if is_above(ema, price) and is_above(ema_before, ema) else "FLAT"


def decimal_of(value: float) -> Decimal | None:
    """Return the shortest decimal that converts back to this float64; None if it is not finite."""
    return Decimal(repr(value)) if math.isfinite(value) else None
