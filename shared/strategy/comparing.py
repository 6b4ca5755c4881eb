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


def crossed(op: str, left: Values, right: Values) -> Truth:
    """From one side at the bar before to the other side, for each bar but the first; undefined if one of the four
    values is. Bars follow one another along the first axis."""
    above, up_to = left > right, left <= right
    defined = above | up_to
    rises = op == "crosses_above"
    result = up_to[:-1] & above[1:] if rises else (left >= right)[:-1] & (left < right)[1:]
    return _three_valued(result, defined[:-1] & defined[1:])


def _three_valued(result: npt.NDArray[np.bool_], defined: npt.NDArray[np.bool_]) -> Truth:
    return np.where(defined, result.view(np.uint8), np.uint8(UNDEFINED))
