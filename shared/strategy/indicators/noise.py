"""Rounding is no signal: the values of indicators on a market that does not move.

The rules are in docs/strategy.md. Each is implemented on arrays, and on single values for live sessions that step
bar by bar. A property test compares the two bit for bit.
"""

from collections.abc import Callable, Mapping

import numpy as np

from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.tolerance import TOLERANCE, Flags, Values

Outputs = tuple[float, ...]
NoiseSuppressor = Callable[[Mapping[str, Values], int, Outputs], Outputs]
"""Maps the columns, a bar's index and TA-Lib's values at that bar to the values with the rules applied."""

MIN_PERCENT = 1e-7  # a percentage up to this is 0
_MAX_PERCENT = 100.0 - MIN_PERCENT


def suppress_noise(
    spec: IndicatorSpec, candles: Mapping[str, Values], outputs: tuple[Values, ...]
) -> tuple[Values, ...]:
    """Apply the rules to TA-Lib's values over the whole series; NaN stays NaN."""
    match spec.type:
        case "SMA" | "WMA" | "BBANDS":
            source = candles[_source(spec)]
            return tuple(_replace(each, _flat_windows(source, spec.period), source) for each in outputs)
        case "STDDEV":
            return (_replace(outputs[0], _flat_windows(candles[_source(spec)], spec.period), 0.0),)
        case "CCI":
            flat = [_flat_windows(candles[name], spec.period) for name in ("high", "low", "close")]
            return (_replace(outputs[0], flat[0] & flat[1] & flat[2], 0.0),)
        case "RSI" | "MFI" | "STOCH":
            return tuple(_snap_all_to_bounds(each) for each in outputs)
        case "MACD":
            least = TOLERANCE * np.abs(candles[_source(spec)])
            return tuple(_replace(each, np.abs(each) <= least, 0.0) for each in outputs)
        case "DISTANCE_FROM_EMA":
            return (_replace(outputs[0], np.abs(outputs[0]) <= MIN_PERCENT, 0.0),)
    return outputs


def noise_suppressor(spec: IndicatorSpec) -> NoiseSuppressor | None:
    """Return the function that does the same for finite values at one bar; None for a type without a rule."""
    period = spec.period
    match spec.type:
        case "SMA" | "WMA" | "BBANDS":
            name = _source(spec)
            return lambda columns, index, outputs: (
                (columns[name].item(index),) * len(outputs) if _is_flat(columns[name], index, period) else outputs
            )
        case "STDDEV":
            name = _source(spec)
            return lambda columns, index, outputs: (0.0,) if _is_flat(columns[name], index, period) else outputs
        case "CCI":
            return lambda columns, index, outputs: (
                (0.0,)
                if all(_is_flat(columns[each], index, period) for each in ("close", "high", "low"))
                else outputs
            )
        case "RSI" | "MFI" | "STOCH":
            return lambda _, __, outputs: tuple(map(_snap_to_bounds, outputs))
        case "MACD":
            name = _source(spec)
            return lambda columns, index, outputs: _zero_noise(outputs, TOLERANCE * abs(columns[name].item(index)))
        case "DISTANCE_FROM_EMA":
            return lambda _, __, outputs: _zero_noise(outputs, MIN_PERCENT)
    return None


def _source(spec: IndicatorSpec) -> str:
    assert spec.source is not None
    return spec.source


def _replace(values: Values, where: Flags, by: Values | float) -> Values:
    if not where.any():
        return values
    return np.where(where & ~np.isnan(values), by, values)


def _flat_windows(source: Values, period: int) -> Flags:
    """Return for each value whether it and the `period - 1` values before it are equal."""
    same = np.zeros(len(source), dtype=np.bool_)
    np.equal(source[1:], source[:-1], out=same[1:])
    if np.count_nonzero(same) < period - 1:
        return np.zeros(len(source), dtype=np.bool_)
    index = np.arange(len(source))
    starts = np.maximum.accumulate(np.where(same, 0, index))
    return np.asarray(index - starts >= period - 1, dtype=np.bool_)


def _is_flat(source: Values, index: int, period: int) -> bool:
    value = source.item(index)
    if index < period - 1 or source.item(index - 1) != value:
        return False
    return bool((source[index - period + 1 : index + 1] == value).all())


def _snap_all_to_bounds(values: Values) -> Values:
    values = _replace(values, values <= MIN_PERCENT, 0.0)
    return _replace(values, values >= _MAX_PERCENT, 100.0)


def _snap_to_bounds(value: float) -> float:
    return 0.0 if value <= MIN_PERCENT else 100.0 if value >= _MAX_PERCENT else value


def _zero_noise(values: Outputs, least: float) -> Outputs:
    return tuple(0.0 if abs(each) <= least else each for each in values)
