"""Analysis of a closed candle, with the indicator values of TA-Lib."""

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from pydantic import BaseModel

from shared.contracts.types import Amount
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
class CandleAnalysis:
    """The analysis of one candle with one EMA period, shared by all watches. None where the EMA is not defined yet.

    Indicator values have all digits of their float64.
    """

    bar: Bar
    ema_value: Decimal | None
    candles_above_ema: int | None
    distance_from_ema: Decimal | None
    trend_direction: Trend | None


def analyse_candle(series: Series, index: int, ema_period: int) -> CandleAnalysis:
    """Analyse the bar at `index` of a series that begins at its anchor."""
    emas = series.values(IndicatorSpec("EMA", period=ema_period))["value"]
    above = series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=ema_period))["value"]
    distance = series.values(IndicatorSpec("DISTANCE_FROM_EMA", period=ema_period))["value"]
    ema, before = emas[index].item(), emas[index - 1].item() if index else math.nan
    return CandleAnalysis(
        bar=series.bar(index),
        ema_value=decimal_of(ema),
        candles_above_ema=None if math.isnan(above[index]) else int(above[index]),
        distance_from_ema=decimal_of(distance[index].item()),
        trend_direction=trend(series.column("close")[index].item(), ema, before),
    )


class SeriesAnalysis:
    """The analyses of one series: one per bar and EMA period, however many users watch it."""

    def __init__(self, name: str, symbol: str, interval: str, series: Series) -> None:
        self.name = name
        self.symbol = symbol
        self.interval = interval
        self._series = series
        self._analyses: dict[tuple[int, int], CandleAnalysis] = {}

    def at(self, index: int, ema_period: int) -> CandleAnalysis:
        key = (index, ema_period)
        if key not in self._analyses:
            self._analyses[key] = analyse_candle(self._series, index, ema_period)
        return self._analyses[key]

    def select_missing(self, indices: range, created_at: datetime, last_analysed: datetime | None) -> range:
        """Return those of the bars that a watch has not analysed yet: those after the last analysed one or, without
        any, those closed since the watch was created."""
        step = timedelta(milliseconds=INTERVAL_MS[self.interval])
        since = created_at - step if last_analysed is None else last_analysed
        return indices[bisect_right(indices, since, key=lambda index: self._series.bar(index).open_time) :]


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
