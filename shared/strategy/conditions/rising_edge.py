"""The rising edges of conditions: the bars at which a condition is true and was not at the previous bar.

Most alerts compare one value with a number. Alerts that compare the same value by the same operator are evaluated
together, as one comparison on arrays; a property test compares the result with the evaluator's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from shared.strategy.conditions.evaluation import compare, truths
from shared.strategy.conditions.operators import TRUE
from shared.strategy.document.nodes import Comparison, Condition, Number, Reference
from shared.strategy.series import Series


@dataclass(frozen=True, slots=True)
class ThresholdCondition:
    """A comparison with a number. Conditions with the same `group_key` differ in the number only."""

    group_key: str
    value: Reference
    op: str
    number: float


def as_threshold(condition: Condition) -> ThresholdCondition | None:
    """Return the condition as a ThresholdCondition; None if it is of another form."""
    root = condition.root
    if not isinstance(root, Comparison) or root.for_bars != 1:
        return None
    if not isinstance(root.left, Reference) or not isinstance(root.right, Number):
        return None
    return ThresholdCondition(f"{root.op} {root.left!r}", root.left, root.op, float(root.right.value))


def find_rising_edges(condition: Condition, series: Series, start: int, stop: int) -> list[int]:
    """Return the bars in start … stop - 1 at which the condition became true."""
    truth = truths(condition, series)
    return [at for at in range(start, stop) if truth[at] == TRUE and (at == 0 or truth[at - 1] != TRUE)]


def find_threshold_edges(
    group: Sequence[ThresholdCondition], series: Series, start: int, stop: int
) -> list[tuple[int, int]]:
    """Return the rising edges of conditions with the same `group_key`, as pairs (index in `group`, bar), by bar."""
    numbers = np.array([threshold.number for threshold in group])
    is_true = compare(group[0].op, group[0].value, numbers, series, start - 1, stop) == TRUE
    bars, indexes = np.nonzero(is_true[1:] & ~is_true[:-1])
    return [(int(index), start + int(bar)) for bar, index in zip(bars, indexes, strict=True)]
