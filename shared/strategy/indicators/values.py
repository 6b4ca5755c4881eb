"""The values of an indicator over a whole series: TA-Lib's with the rules of `noise.py` applied."""

from collections.abc import Mapping

import numpy as np
import talib

from shared.strategy.indicators.noise import suppress_noise
from shared.strategy.indicators.recipes import IndicatorSpec, recipe
from shared.strategy.tolerance import ABOVE, Values, orders


def compute(spec: IndicatorSpec, candles: Mapping[str, Values]) -> dict[str, Values]:
    """Return each output over the whole series; NaN where undefined."""
    call = recipe(spec)
    with np.errstate(all="ignore"):
        result = getattr(talib, call.function)(*(candles[name] for name in call.columns), *call.arguments)
        results: tuple[Values, ...] = result if isinstance(result, tuple) else (result,)
        if spec.type == "CANDLES_ABOVE_EMA":
            results = (_candles_above(candles["close"], results[0]),)
        elif spec.type == "DISTANCE_FROM_EMA":
            results = (distance_pct(candles["close"], results[0]),)
        results = suppress_noise(spec, candles, results)
    return dict(zip(spec.outputs, results, strict=True))


def distance_pct(close: Values, average: Values) -> Values:
    return (close - average) / average * 100.0


def _candles_above(close: Values, average: Values) -> Values:
    above = orders(close, average) == ABOVE
    index = np.arange(len(close))
    last_not_above = np.maximum.accumulate(np.where(above, -1, index)) if len(close) else index
    counts = (index - last_not_above).astype(np.float64)
    counts[np.isnan(average)] = np.nan
    return counts
