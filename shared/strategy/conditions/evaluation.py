"""The three-valued truth of conditions on a series.

A backtest evaluates all bars at once, on arrays. A live session evaluates the newest bar, by `one_bar.py`. The
series caches the results, so that sessions with the same condition share them.
"""

from functools import reduce

import numpy as np

from shared.strategy.conditions.one_bar import truth_at
from shared.strategy.conditions.operators import TRUE, UNDEFINED, Truth, is_crossing, look_up
from shared.strategy.document.nodes import Comparison, Condition, Node, Not, Number, Operand
from shared.strategy.series import Series, Truths
from shared.strategy.tolerance import UNORDERED, Values, orders

_BAR_BY_BAR = 4  # up to so many bars are cheaper one at a time


def truths(condition: Condition, series: Series) -> bytearray:
    """Return FALSE, UNDEFINED or TRUE for every bar of the series."""
    return extend_truths(condition, series, series.truths(condition.key))


def extend_truths(condition: Condition, series: Series, cached: Truths) -> bytearray:
    """Extend the cached truths to the last bar of the series and return them."""
    start, stop = len(cached.values), len(series)
    if stop - start > _BAR_BY_BAR:
        cached.values += _truth(condition.root, series, start, stop).tobytes()
    elif start < stop:
        if cached.at is None:
            cached.at = truth_at(condition.root, series)
        cached.values.extend(map(cached.at, range(start, stop)))
    return cached.values


def evaluate(condition: Condition, series: Series, index: int) -> bool | None:
    """Return the condition's truth at the bar; None if undefined."""
    truth = truths(condition, series)[index]
    return None if truth == UNDEFINED else truth == TRUE


def compare(op: str, left: Operand, right: Operand | Values, series: Series, start: int, stop: int) -> Truth:
    """Return the comparison's truth at the bars start … stop - 1; `start` may be before the first bar.

    If `right` is an array of numbers, the result has a column for each of them.
    """
    begin = start - is_crossing(op)
    first = max(begin, 0)
    with np.errstate(all="ignore"):
        one = _values(left, series, first, stop)
        if isinstance(right, np.ndarray):
            found = orders(one[:, np.newaxis], right)
        else:
            found = orders(one, _values(right, series, first, stop))
    if begin < first:
        found = np.concatenate((np.full((first - begin, *found.shape[1:]), UNORDERED, dtype=np.uint8), found))
    return look_up(op, found)


def _truth(node: Node, series: Series, start: int, stop: int) -> Truth:
    if isinstance(node, Comparison):
        single = compare(node.op, node.left, node.right, series, start - node.for_bars + 1, stop)
        return _least_of_last(node.for_bars, single)
    if isinstance(node, Not):
        return TRUE - _truth(node.part, series, start, stop)
    parts = [_truth(part, series, start, stop) for part in node.parts]
    return reduce(np.minimum if node.kind == "all" else np.maximum, parts)


def _least_of_last(bars: int, truth: Truth) -> Truth:
    """Return the least of every `bars` successive truths, by doubling the span that is covered."""
    span = 1
    while span < bars:
        step = min(span, bars - span)
        truth = np.minimum(truth[step:], truth[:-step])
        span += step
    return truth


def _values(operand: Operand, series: Series, start: int, stop: int) -> Values:
    """Return the operand's values at start … stop - 1, NaN where the shift reaches before the first bar."""
    if isinstance(operand, Number):
        return np.broadcast_to(float(operand.value), stop - start)
    column = operand.column.values(series)
    if operand.is_plain:
        return column[start:stop]
    missing = min(max(operand.shift - start, 0), stop - start)
    found = column[max(start - operand.shift, 0) : max(stop - operand.shift, 0)]
    return np.concatenate((np.full(missing, np.nan), found)) * float(operand.mul) + float(operand.add)
