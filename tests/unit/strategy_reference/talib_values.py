"""TA-Lib's own values for every indicator, called as its documentation says; the reference is measured by them."""

import math
from collections.abc import Callable

import numpy as np
import talib

from tests.reference.conditions import Columns
from tests.reference.document import Json
from tests.reference.indicators import OF_ONE_SERIES, Candles, above, apply_rules

Array = np.ndarray[tuple[int], np.dtype[np.float64]]


def talib_outputs(candles: Candles, spec: Json) -> dict[str, list[float]]:
    """The values before the rules for markets that do not move."""
    return {name: [float(v) for v in values] for name, values in _outputs(candles, spec).items()}


def _outputs(candles: Candles, spec: Json) -> dict[str, Array]:
    kind = str(spec["type"])
    default = {"HIGHEST": "high", "LOWEST": "low"}.get(kind, "close")
    x = np.array(candles.column(str(spec.get("source") or default)))
    high, low, close = np.array(candles.high), np.array(candles.low), np.array(candles.close)
    volume = np.array(candles.volume)

    def integer(key: str) -> int:
        return int(str(spec[key]))

    if kind == "MACD":
        lines = talib.MACD(x, integer("fast"), integer("slow"), integer("signal"))
        return dict(zip(("macd", "signal", "hist"), lines, strict=True))
    if kind == "BBANDS":
        width = float(str(spec.get("deviations") or 2))
        bands = talib.BBANDS(x, integer("period"), width, width)
        return dict(zip(("upper", "middle", "lower"), bands, strict=True))
    if kind == "STOCH":
        k, d = talib.STOCH(
            high,
            low,
            close,
            fastk_period=integer("fastk"),
            slowk_period=integer("slowk"),
            slowd_period=integer("slowd"),
        )
        return {"k": k, "d": d}
    if kind == "OBV":
        return {"": talib.OBV(close, volume)}
    period = integer("period")
    if kind in OF_ONE_SERIES or kind in ("HIGHEST", "LOWEST"):
        function: Callable[[Array, int], Array] = getattr(
            talib, {"HIGHEST": "MAX", "LOWEST": "MIN"}.get(kind, kind)
        )
        return {"": function(x, period)}
    if kind == "MFI":
        return {"": talib.MFI(high, low, close, volume, period)}
    if kind in ("ATR", "ADX", "CCI"):
        return {"": getattr(talib, kind)(high, low, close, period)}
    ema = talib.EMA(close, period)
    if kind == "DISTANCE_FROM_EMA":
        return {"": (close - ema) / ema * 100}
    count, counts = 0.0, []
    for price, average in zip(close.tolist(), ema.tolist(), strict=True):
        count = count + 1 if above(price, average) else 0.0
        counts.append(np.nan if math.isnan(average) else count)
    return {"": np.array(counts)}


def talib_columns(candles: Candles, indicators: Json) -> Columns:
    columns = {name: candles.column(name) for name in ("open", "high", "low", "close", "volume")}
    for name, spec in indicators.items():
        assert isinstance(spec, dict)
        for output, values in talib_outputs(candles, spec).items():
            columns[f"{name}.{output}" if output else name] = apply_rules(candles, spec, values)
    return columns
