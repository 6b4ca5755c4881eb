"""A condition's truth at one bar: the rules of `evaluation.py` on single values, for stepping bar by bar.

A property test compares the two implementations.
"""

from collections.abc import Callable

from shared.strategy.conditions.tolerance import is_above
from shared.strategy.document.nodes import FALSE, TRUE, UNDEFINED, Comparison, Node, Not, Number, Operand
from shared.strategy.series import Series

_NAN = float("nan")
_NOT = (TRUE, FALSE, UNDEFINED)
_PLAIN: dict[str, Callable[[float, float], bool]] = {
    ">": is_above,
    ">=": lambda one, other: not is_above(other, one),
    "<": lambda one, other: is_above(other, one),
    "<=": lambda one, other: not is_above(one, other),
    "==": lambda one, other: not (is_above(one, other) or is_above(other, one)),
}
_CROSSES = {"crosses_above": ">", "crosses_below": "<"}

TruthAt = Callable[[int], int]
ValueAt = Callable[[int], float]


def truth_at(node: Node, series: Series) -> TruthAt:
    """Return a function from a bar's index to FALSE, TRUE or UNDEFINED; it stays valid as the series grows."""
    if isinstance(node, Comparison):
        single = _crossing(node, series) if node.op in _CROSSES else _comparison(node, series)
        return single if node.for_bars == 1 else _for_bars(single, node.for_bars)
    if isinstance(node, Not):
        part = truth_at(node.part, series)
        return lambda index: _NOT[part(index)]
    parts = [truth_at(each, series) for each in node.parts]
    decisive, other = (FALSE, TRUE) if node.kind == "all" else (TRUE, FALSE)

    def combined(index: int) -> int:
        result = other
        for each in parts:
            truth = each(index)
            if truth == decisive:
                return decisive
            if truth == UNDEFINED:
                result = UNDEFINED
        return result

    return combined


def _comparison(node: Comparison, series: Series) -> TruthAt:
    left, right, holds = value_at(node.left, series), value_at(node.right, series), _PLAIN[node.op]

    def comparison(index: int) -> int:
        one, other = left(index), right(index)
        if one != one or other != other:
            return UNDEFINED
        return TRUE if holds(one, other) else FALSE

    return comparison


def _crossing(node: Comparison, series: Series) -> TruthAt:
    left, right = value_at(node.left, series), value_at(node.right, series)
    beyond = _PLAIN[_CROSSES[node.op]]

    def crossing(index: int) -> int:
        one, other, one_before, other_before = left(index), right(index), left(index - 1), right(index - 1)
        if one != one or other != other or one_before != one_before or other_before != other_before:
            return UNDEFINED
        return TRUE if beyond(one, other) and not beyond(one_before, other_before) else FALSE

    return crossing


def _for_bars(single: TruthAt, bars: int) -> TruthAt:
    """Return a function for `single` at a bar and at all of the `bars - 1` before it. Evaluates each bar once."""
    cached: dict[int, int] = {}

    def for_bars(index: int) -> int:
        for each in range(index - bars + 1, index + 1):
            if each not in cached:
                cached[each] = single(each)
        for each in [each for each in cached if each <= index - bars]:
            del cached[each]
        truths = cached.values()
        return FALSE if FALSE in truths else UNDEFINED if UNDEFINED in truths else TRUE

    return for_bars


def value_at(operand: Operand, series: Series) -> ValueAt:
    """Return a function from a bar's index to the operand's value; NaN before the first bar, for numbers too."""
    if isinstance(operand, Number):
        constant = float(operand.value)
        return lambda index: constant if index >= 0 else _NAN
    column_at, shift = operand.column.value_at(series), operand.shift
    if operand.mul == 1 and operand.add == 0:
        return lambda index: column_at(index - shift) if index >= shift else _NAN
    mul, add = float(operand.mul), float(operand.add)
    return lambda index: column_at(index - shift) * mul + add if index >= shift else _NAN
