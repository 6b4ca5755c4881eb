"""When conditions become true: at which bars one holds that did not hold at the bar before.

Most alerts compare one value with a number. Those that compare the same value in the same way are answered
together, as one comparison of arrays; the answer is that of the evaluator (a property test).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.strategy.conditions.arrays import compared, crossed
from shared.strategy.conditions.evaluation import truths
from shared.strategy.conditions.tolerance import Values
from shared.strategy.document.nodes import TRUE, Comparison, Condition, Number, Reference
from shared.strategy.series import Series

Held = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class ThresholdCondition:
    """A condition that is one comparison with a number. Those of the same `likeness` differ in the number only."""

    likeness: str
    value: Reference
    op: str
    number: float


def threshold_of(condition: Condition) -> ThresholdCondition | None:
    """None for a condition that is more than that."""
    root = condition.root
    if not isinstance(root, Comparison) or root.for_bars != 1:
        return None
    if not isinstance(root.left, Reference) or not isinstance(root.right, Number):
        return None
    return ThresholdCondition(f"{root.op} {root.left!r}", root.left, root.op, float(root.right.value))


def became_true(condition: Condition, series: Series, start: int, stop: int) -> list[int]:
    """The bars from `start` to before `stop` at which it did."""
    held = truths(condition, series)
    return [at for at in range(start, stop) if held[at] == TRUE and (at == 0 or held[at - 1] != TRUE)]


def thresholds_reached(
    alike: Sequence[ThresholdCondition], series: Series, start: int, stop: int
) -> list[tuple[int, int]]:
    """As `became_true`, for thresholds of one likeness: (which of them, at which bar), by bar."""
    numbers = np.array([threshold.number for threshold in alike])
    held = _held(alike[0], series, start - 1, stop, numbers)
    bars, which = np.nonzero(held[1:] & ~held[:-1])
    return [(int(one), start + int(bar)) for bar, one in zip(bars, which, strict=True)]


def _held(like: ThresholdCondition, series: Series, start: int, stop: int, numbers: Values) -> Held:
    """Bars by numbers. What is not defined compares as false, which is all that counts here."""
    crossing = like.op.startswith("crosses")
    values = _values(like.value, series, start - 1 if crossing else start, stop)[:, np.newaxis]
    truth = crossed(like.op, values, numbers) if crossing else compared(like.op, values, numbers)
    return np.asarray(truth == TRUE, dtype=np.bool_)


def _values(reference: Reference, series: Series, start: int, stop: int) -> Values:
    """Those at start … stop - 1, NaN before the first bar."""
    column = reference.column.values(series)
    first, last = start - reference.shift, stop - reference.shift
    found = column[max(0, first) : max(0, last)]
    values = np.concatenate((np.full(min(max(0, -first), stop - start), np.nan), found))
    if reference.mul == 1 and reference.add == 0:
        return values
    with np.errstate(all="ignore"):
        return values * float(reference.mul) + float(reference.add)
