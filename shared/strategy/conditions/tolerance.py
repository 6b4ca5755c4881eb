"""Rounding is no signal: comparisons with a tolerance, and what indicators are on a market that stands still.

Running sums of floats differ in their last bits, so that equal averages would seem to cross. The rules are in
docs/strategy.md; each is here for arrays, and for single values as a live session steps bar by bar (a property test
holds the two to each other, bit for bit).
"""

from collections.abc import Callable, Mapping
from sys import float_info
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from shared.strategy.indicators.recipes import IndicatorSpec

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Outputs = tuple[float, ...]
SettleAt = Callable[[Mapping[str, Values], int, Outputs], Outputs]
"""Takes the columns, a bar's index and TA-Lib's values there; gives the values after the rules."""

TOLERANCE = 1e-9  # of the larger of two numbers, and for MACD of the source
LEAST_PERCENT = 1e-7  # below it a percentage is nothing
_ALMOST_ALL = 100.0 - LEAST_PERCENT
_BLOCK = 8192  # elements whose intermediate results stay in the processor's cache
_LARGEST = float_info.max  # an infinite number is equal to none but itself


def is_above(one: float, other: float) -> bool:
    """Whether one number exceeds the other by more than rounding; not where one is NaN."""
    return one - other > min(TOLERANCE * max(abs(one), abs(other)), _LARGEST)


def sides(left: Values, right: Values) -> tuple[Flags, Flags, Flags]:
    """`is_above` element by element, both ways, and where both are numbers. Neither above nor below is equal."""
    with np.errstate(all="ignore"):
        if len(left) <= _BLOCK or left.shape != right.shape:
            return _sides(left, right)
        above, below, defined = (np.empty(left.shape, dtype=np.bool_) for _ in range(3))
        for start in range(0, len(left), _BLOCK):
            part = slice(start, start + _BLOCK)
            above[part], below[part], defined[part] = _sides(left[part], right[part])
        return above, below, defined


def _sides(left: Values, right: Values) -> tuple[Flags, Flags, Flags]:
    difference = left - right
    tolerance = np.maximum(np.abs(left), np.abs(right))  # NaN where one is
    defined = np.equal(tolerance, tolerance)
    tolerance *= TOLERANCE
    np.minimum(tolerance, _LARGEST, out=tolerance)
    return difference > tolerance, difference < -tolerance, defined


def settle(spec: "IndicatorSpec", candles: Mapping[str, Values], outputs: tuple[Values, ...]) -> tuple[Values, ...]:
    """TA-Lib's values over the whole series, after the rules; what is NaN stays NaN."""
    match spec.type:
        case "SMA" | "WMA" | "BBANDS":
            source = candles[_source(spec)]
            return tuple(_replaced(each, _flat(source, spec.period), source) for each in outputs)
        case "STDDEV":
            return (_replaced(outputs[0], _flat(candles[_source(spec)], spec.period), 0.0),)
        case "CCI":
            flat = [_flat(candles[name], spec.period) for name in ("high", "low", "close")]
            return (_replaced(outputs[0], flat[0] & flat[1] & flat[2], 0.0),)
        case "RSI" | "MFI" | "STOCH":
            return tuple(_within_bounds(each) for each in outputs)
        case "MACD":
            least = TOLERANCE * np.abs(candles[_source(spec)])
            return tuple(_replaced(each, np.abs(each) <= least, 0.0) for each in outputs)
        case "DISTANCE_FROM_EMA":
            return (_replaced(outputs[0], np.abs(outputs[0]) <= LEAST_PERCENT, 0.0),)
    return outputs


def settles_at(spec: "IndicatorSpec") -> SettleAt | None:
    """The same at one bar, of finite values; None for a type without a rule."""
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
            return lambda _, __, outputs: tuple(map(_bounded, outputs))
        case "MACD":
            name = _source(spec)
            return lambda columns, index, outputs: _without_noise(
                outputs, TOLERANCE * abs(columns[name].item(index))
            )
        case "DISTANCE_FROM_EMA":
            return lambda _, __, outputs: _without_noise(outputs, LEAST_PERCENT)
    return None


def _source(spec: "IndicatorSpec") -> str:
    assert spec.source is not None
    return spec.source


def _replaced(values: Values, where: Flags, by: Values | float) -> Values:
    if not where.any():
        return values
    return np.where(where & ~np.isnan(values), by, values)


def _flat(source: Values, period: int) -> Flags:
    """Where the last `period` values, this one included, are one number."""
    same = np.zeros(len(source), dtype=np.bool_)
    np.equal(source[1:], source[:-1], out=same[1:])
    if np.count_nonzero(same) < period - 1:
        return np.zeros(len(source), dtype=np.bool_)
    index = np.arange(len(source))
    began = np.maximum.accumulate(np.where(same, 0, index))
    return np.asarray(index - began >= period - 1, dtype=np.bool_)


def _is_flat(source: Values, index: int, period: int) -> bool:
    value = source.item(index)
    if index < period - 1 or source.item(index - 1) != value:
        return False
    return bool((source[index - period + 1 : index + 1] == value).all())


def _within_bounds(values: Values) -> Values:
    values = _replaced(values, values <= LEAST_PERCENT, 0.0)
    return _replaced(values, values >= _ALMOST_ALL, 100.0)


def _bounded(value: float) -> float:
    return 0.0 if value <= LEAST_PERCENT else 100.0 if value >= _ALMOST_ALL else value


def _without_noise(values: Outputs, least: float) -> Outputs:
    return tuple(0.0 if abs(each) <= least else each for each in values)
