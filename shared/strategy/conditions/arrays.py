"""A comparison's truth on arrays of values: equal within the tolerance is equal, and NaN makes it undefined."""

import numpy as np
import numpy.typing as npt

from shared.strategy.conditions.tolerance import Values, sides
from shared.strategy.document.nodes import UNDEFINED

Truth = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]


def compared(op: str, left: Values, right: Values) -> Truth:
    """Element by element."""
    above, below, defined = sides(left, right)
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


def crossed(op: str, left: Values, right: Values) -> Truth:
    """From one side at the bar before to the other side, for each bar but the first; undefined if one of the four
    values is. Bars follow one another along the first axis."""
    above, below, defined = sides(left, right)
    beyond = above if op == "crosses_above" else below
    before = ~beyond[:-1] & defined[:-1]
    return _three_valued(before & beyond[1:], defined[:-1] & defined[1:])


def _three_valued(result: Flags, defined: Flags) -> Truth:
    """What is undefined does not hold: its place in the result is 0."""
    truth = np.logical_not(defined).view(np.uint8)
    truth *= UNDEFINED
    truth += result.view(np.uint8)
    return truth
