"""Comparisons on arrays: values within the tolerance are equal, and NaN makes a comparison undefined."""

import numpy as np
import numpy.typing as npt

from shared.strategy.conditions.tolerance import Values, comparison_masks
from shared.strategy.document.nodes import UNDEFINED

Truth = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


def compare(op: str, left: Values, right: Values) -> Truth:
    """Compare element by element."""
    above, below, defined = comparison_masks(left, right)
    match op:
        case ">":
            result = above
        case ">=":
            result = ~below & defined
        case "<":
            result = below
        case "<=":
            result = ~above & defined
        case _:
            result = ~(above | below) & defined
    return _three_valued(result, defined)


def crosses(op: str, left: Values, right: Values) -> Truth:
    """Return for each bar but the first whether `left` crossed `right` since the previous bar.

    Undefined if one of the four values is NaN. Bars run along the first axis.
    """
    above, below, defined = comparison_masks(left, right)
    beyond = above if op == "crosses_above" else below
    before = ~beyond[:-1] & defined[:-1]
    return _three_valued(before & beyond[1:], defined[:-1] & defined[1:])


def _three_valued(result: Flags, defined: Flags) -> Truth:
    """Return TRUE, FALSE or UNDEFINED per element. `result` must be False where `defined` is False."""
    truth = np.logical_not(defined).view(np.uint8)
    truth *= UNDEFINED
    truth += result.view(np.uint8)
    return truth
