"""Distances of stops and targets that come from an indicator, as numbers of ticks.

A level is the entry price, a number of ticks, moved by the distance d = value × indicator and rounded half-up: up
by ⌊d/tick + ½⌋ ticks, or down by ⌈d/tick − ½⌉. The two differ by one tick where d/tick is half-way between two
ticks, and are equal elsewhere. So both are kept as their sum, the *code*; -1 means that there is no entry.
"""

from decimal import Decimal
from fractions import Fraction

import numpy as np

from shared.strategy.backtest.integers.scales import BeyondBound, indicator_distances
from shared.strategy.document.risk import Risk
from shared.strategy.series import Series
from shared.strategy.ticks import Integers
from shared.strategy.tolerance import Flags, Values

_MARGIN = 1e-14  # relative; several times the error of the two products of floats below
_FARTHEST = 2.0**45


def distance_codes(risk: Risk, series: Series, tick: Decimal, candidates: Flags) -> Integers:
    """Return the codes of each distance, in a row, at the candidate bars. Raises BeyondBound."""
    distances = indicator_distances(risk)
    codes = np.full((len(distances), len(series)), -1, dtype=np.int64)
    for row, distance in enumerate(distances):
        assert distance.column is not None
        codes[row, candidates] = _codes(distance.value, distance.column.values(series)[candidates], tick)
    return codes


def _codes(value: Decimal, indicator: Values, tick: Decimal) -> Integers:
    codes = np.full(len(indicator), -1, dtype=np.int64)
    with np.errstate(all="ignore"):
        valid = (indicator > 0) & np.isfinite(indicator)
    half_ticks = indicator[valid] * float(2 * Fraction(value) / Fraction(tick))
    if half_ticks.max(initial=0.0) >= _FARTHEST:
        raise BeyondBound
    odd = 2 * np.floor(half_ticks / 2) + 1
    found = np.where(half_ticks < odd, odd - 1, odd + 1).astype(np.int64)
    unclear = np.flatnonzero(np.abs(half_ticks - odd) <= _MARGIN * odd)
    for number in np.unique(indicator[valid][unclear]).tolist():
        exact = 2 * Fraction(value) * Fraction(repr(number)) / Fraction(tick)
        is_half = exact.denominator == 1 and exact.numerator % 2 == 1
        found[indicator[valid] == number] = exact.numerator if is_half else (exact + 1) // 2 * 2
    codes[valid] = found
    return codes
