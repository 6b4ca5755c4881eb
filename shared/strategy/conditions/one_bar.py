"""A condition's truth at one bar: the rules of `conditions.py` on single values, for who steps bar by bar.

A property test holds the two to each other.
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
    """Answers FALSE, TRUE or UNDEFINED for a bar by its index, as the series grows."""
    if isinstance(node, Comparison):
        single = _crossed(node, series) if node.op in _CROSSES else _compared(node, series)
        return single if node.for_bars == 1 else _held(single, node.for_bars)
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


def _compared(node: Comparison, series: Series) -> TruthAt:
    left, right, holds = value_at(node.left, series), value_at(node.right, series), _PLAIN[node.op]

    def compared(index: int) -> int:
        one, other = left(index), right(index)
        if one != one or other != other:
            return UNDEFINED
        return TRUE if holds(one, other) else FALSE

    return compared


def _crossed(node: Comparison, series: Series) -> TruthAt:
    left, right = value_at(node.left, series), value_at(node.right, series)
    beyond = _PLAIN[_CROSSES[node.op]]

    def crossed(index: int) -> int:
        one, other, one_before, other_before = left(index), right(index), left(index - 1), right(index - 1)
        if one != one or other != other or one_before != one_before or other_before != other_before:
            return UNDEFINED
        return TRUE if beyond(one, other) and not beyond(one_before, other_before) else FALSE

    return crossed


def _held(single: TruthAt, bars: int) -> TruthAt:
    """At the bar and the `bars - 1` before it, all of them; those truths are kept, each is asked for once."""
    kept: dict[int, int] = {}

    def held(index: int) -> int:
        for each in range(index - bars + 1, index + 1):
            if each not in kept:
                kept[each] = single(each)
        for each in [each for each in kept if each <= index - bars]:
            del kept[each]
        truths = kept.values()
        return FALSE if FALSE in truths else UNDEFINED if UNDEFINED in truths else TRUE

    return held


def value_at(operand: Operand, series: Series) -> ValueAt:
    """NaN before the first bar, for numbers too."""
    if isinstance(operand, Number):
        constant = float(operand.value)
        return lambda index: constant if index >= 0 else _NAN
    column_at, shift = operand.column.value_at(series), operand.shift
    if operand.mul == 1 and operand.add == 0:
        return lambda index: column_at(index - shift) if index >= shift else _NAN
    mul, add = float(operand.mul), float(operand.add)
    return lambda index: column_at(index - shift) * mul + add if index >= shift else _NAN
