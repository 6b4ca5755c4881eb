"""A condition's truth at one bar, for stepping bar by bar: functions that read single values.

A property test compares them with `evaluation.py`, which evaluates arrays.
"""

from collections import deque
from collections.abc import Callable

from shared.strategy.conditions.operators import TABLES, TRUE, UNDEFINED, is_crossing, pair
from shared.strategy.document.nodes import Comparison, Node, Not, Number, Operand
from shared.strategy.series import Series
from shared.strategy.tolerance import UNORDERED, order

_NAN = float("nan")
TruthAt = Callable[[int], int]
ValueAt = Callable[[int], float]


def truth_at(node: Node, series: Series) -> TruthAt:
    """Return a function from a bar's index to FALSE, UNDEFINED or TRUE; it stays valid as the series grows.

    Call it with rising indexes: it remembers what the next bar needs of this one.
    """
    if isinstance(node, Comparison):
        single = (_crossing if is_crossing(node.op) else _comparison)(node, series)
        return single if node.for_bars == 1 else _for_bars(single, node.for_bars)
    if isinstance(node, Not):
        part = truth_at(node.part, series)
        return lambda index: TRUE - part(index)
    parts = [truth_at(each, series) for each in node.parts]
    combine = min if node.kind == "all" else max
    return lambda index: combine([part(index) for part in parts])


def _comparison(node: Comparison, series: Series) -> TruthAt:
    table, left, right = TABLES[node.op], _value_at(node.left, series), _value_at(node.right, series)
    return lambda index: table[order(left(index), right(index))]


def _crossing(node: Comparison, series: Series) -> TruthAt:
    table, left, right = TABLES[node.op], _value_at(node.left, series), _value_at(node.right, series)
    last, last_order = -1, UNORDERED

    def crossing(index: int) -> int:
        nonlocal last, last_order
        before = last_order if last == index - 1 else order(left(index - 1), right(index - 1))
        last, last_order = index, order(left(index), right(index))
        return table[pair(before, last_order)]

    return crossing


def _for_bars(single: TruthAt, bars: int) -> TruthAt:
    """Return a function for the least truth of `single` at a bar and the `bars - 1` before it. Evaluates each bar
    once."""
    recent, last = deque([UNDEFINED] * bars, bars), -1

    def for_bars(index: int) -> int:
        nonlocal last
        recent.extend(map(single, range(max(last, index - bars) + 1, index + 1)))
        last = index
        return min(recent)

    return for_bars


def _value_at(operand: Operand, series: Series) -> ValueAt:
    """Return a function from a bar's index to the operand's value, NaN where the shift reaches before the first."""
    if isinstance(operand, Number):
        constant = float(operand.value)
        return lambda _: constant
    column_at, shift = operand.column.value_at(series), operand.shift
    if operand.is_plain:
        return column_at
    mul, add = float(operand.mul), float(operand.add)
    return lambda index: column_at(index - shift) * mul + add if index >= shift else _NAN
