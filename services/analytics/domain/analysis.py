"""What a closed candle looks like to somebody who watches its series; indicators as TA-Lib gives them."""

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
from shared.strategy.conditions.tolerance import is_above
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series

Trend = Literal["UP", "DOWN", "FLAT"]


class AnalysisData(BaseModel):
    """What stands in `analysis_data`."""

    version: Literal[1] = 1
    series: str
    open: Amount
    high: Amount
    low: Amount


@dataclass(frozen=True)
class Watch:
    """As the analysis sees it, over all users."""

    user_id: int
    watch_id: UUID
    ema_period: int


@dataclass(frozen=True)
class ClosedBar:
    """A bar of a series, by its index in it."""

    index: int
    timestamp: datetime
    data: AnalysisData


@dataclass(frozen=True)
class Look:
    """At one candle with one EMA, for however many watch it. None where the EMA is not defined yet.

    The indicator's values are those of float64, to their last digit.
    """

    price: Decimal
    ema_value: Decimal | None
    candles_above_ema: int | None
    distance_from_ema: Decimal | None
    trend_direction: Trend | None
    volume: Decimal


def look_at(series: Series, index: int, ema_period: int) -> Look:
    """At the bar of this index in a series that begins at its anchor."""
    bar: Bar = series.bar(index)
    emas = series.values(IndicatorSpec("EMA", period=ema_period))["value"]
    above = series.values(IndicatorSpec("CANDLES_ABOVE_EMA", period=ema_period))["value"]
    distance = series.values(IndicatorSpec("DISTANCE_FROM_EMA", period=ema_period))["value"]
    ema, before = emas[index].item(), emas[index - 1].item() if index else math.nan
    return Look(
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


def missing_of(
    bars: Sequence[ClosedBar], interval: str, begun_at: datetime, last_seen: datetime | None
) -> Sequence[ClosedBar]:
    """Of those of a series, ascending: what came after the last that a watch saw; where it saw none, what closed
    since it was begun."""
    step = timedelta(milliseconds=INTERVAL_MS[interval])
    since = begun_at - step if last_seen is None else last_seen
    return bars[bisect_right(bars, since, key=lambda bar: bar.timestamp) :]


def trend(price: float, ema: float, ema_before: float) -> Trend | None:
    """UP where the close is above a rising EMA, DOWN where it is below a falling one, FLAT otherwise.

    None where an EMA is not defined. Compared as conditions are: what differs by rounding only is equal.
    """
    if not (math.isfinite(ema) and math.isfinite(ema_before)):
        return None
    if is_above(price, ema) and is_above(ema, ema_before):
        return "UP"
    return "DOWN" if is_above(ema, price) and is_above(ema_before, ema) else "FLAT"


def decimal_of(value: float) -> Decimal | None:
    """The shortest text that gives this float64 again; None where there is no value."""
    return Decimal(repr(value)) if math.isfinite(value) else None
