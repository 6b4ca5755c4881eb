"""A comparison's truth on arrays of values: NaN makes it undefined."""

import numpy as np
import numpy.typing as npt

from shared.strategy.indicators import Values
from shared.strategy.nodes import UNDEFINED

Truth = npt.NDArray[np.uint8]


def compared(op: str, left: Values, right: Values) -> Truth:
    """Element by element."""
    above, up_to = left > right, left <= right
    match op:
        case ">":
            result = above
        case ">=":
            result = left >= right
        case "<":
            result = left < right
        case "<=":
            result = up_to
        case _:
            result = left == right
    return _three_valued(result, above | up_to)  # with NaN neither holds


def crossed(op: str, left: Values, right: Values, left_before: Values, right_before: Values) -> Truth:
    """From one side at the bar before to the other side; undefined if any of the four values is."""
    above, up_to = left > right, left <= right
    above_before, up_to_before = left_before > right_before, left_before <= right_before
    rises = op == "crosses_above"
    result = above & up_to_before if rises else (left < right) & (left_before >= right_before)
    return _three_valued(result, (above | up_to) & (above_before | up_to_before))


def _three_valued(result: npt.NDArray[np.bool_], defined: npt.NDArray[np.bool_]) -> Truth:
    return np.where(defined, result.view(np.uint8), np.uint8(UNDEFINED))
