"""The order of two numbers: rounding is no signal, so numbers within the tolerance are equal.

Running sums of floats differ in their last bits, so that equal averages would seem to cross. The rules are in
docs/strategy.md. The order is computed on arrays, and on single values for live sessions that step bar by bar; a
property test compares the two bit for bit.
"""

from collections.abc import Callable
from sys import float_info

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Orders = npt.NDArray[np.uint8]

BELOW, EQUAL, ABOVE, UNORDERED = range(4)
"""The order of one number to another; unordered if either is NaN."""

TOLERANCE = 1e-9  # relative to the larger of two numbers; for MACD to the source
_LARGEST = float_info.max  # caps the tolerance, so that an infinite number equals only itself
_compiled: "Callable[[Values, Values], Orders] | None" = None
_BLOCK = 8192  # elements; their intermediate results fit in the CPU cache


def is_above(one: float, other: float) -> bool:
    """Return whether `one` exceeds `other` by more than the tolerance; False if either is NaN."""
    return order(one, other) == ABOVE


def order(one: float, other: float) -> int:
    """Return BELOW, EQUAL, ABOVE or UNORDERED."""
    difference = one - other
    tolerance = min(TOLERANCE * max(abs(one), abs(other)), _LARGEST)
    if difference > tolerance:
        return ABOVE
    if difference < -tolerance:
        return BELOW
    return EQUAL if one == one and other == other else UNORDERED


def use_compiled(form: "Callable[[Values, Values], Orders]") -> None:
    """Let `orders` use a compiled form for long arrays. It must give what `order` gives for each pair."""
    global _compiled
    _compiled = form


def orders(left: Values, right: Values) -> Orders:
    """Return the order of each element of `left` to that of `right`."""
    if _compiled is not None and len(left) > _BLOCK and left.ndim == 1 and left.shape == right.shape:
        return _compiled(left, right)
    with np.errstate(all="ignore"):
        if len(left) <= _BLOCK or left.shape != right.shape:
            return _orders(left, right)
        found = np.empty(left.shape, dtype=np.uint8)
        for start in range(0, len(left), _BLOCK):
            part = slice(start, start + _BLOCK)
            found[part] = _orders(left[part], right[part])
        return found


def _orders(left: Values, right: Values) -> Orders:
    difference = left - right
    tolerance = np.maximum(np.abs(left), np.abs(right))  # NaN where either is NaN
    tolerance *= TOLERANCE
    np.minimum(tolerance, _LARGEST, out=tolerance)
    found = (difference > tolerance).view(np.uint8)
    found -= (difference < -tolerance).view(np.uint8)
    found += EQUAL
    np.copyto(found, UNORDERED, where=np.isnan(tolerance))
    return found
