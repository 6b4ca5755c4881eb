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
    rises = op == "crosses_above"
    before, beyond = (left <= right, left > right) if rises else (left >= right, left < right)
    defined = before | beyond  # with NaN neither holds
    return _three_valued(before[:-1] & beyond[1:], defined[:-1] & defined[1:])


def _three_valued(result: npt.NDArray[np.bool_], defined: npt.NDArray[np.bool_]) -> Truth:
    """What is undefined does not hold: its place in the result is 0."""
    truth = np.logical_not(defined).view(np.uint8)
    truth *= UNDEFINED
    truth += result.view(np.uint8)
    return truth
