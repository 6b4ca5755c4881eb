"""The plain comparisons on a series, all at once for its newest bar.

Many sessions on a series ask for many conditions, most of them a comparison of two columns as they are: each column
is looked at once, and arrays do the rest. What is not plain is answered by `moment.py`.
"""

from collections.abc import Callable

import numpy as np

from shared.strategy.conditions.arrays import compared, crossed
from shared.strategy.conditions.one_bar import value_at
from shared.strategy.conditions.tolerance import Values
from shared.strategy.document.nodes import Column, Comparison, Node, Number, Operand
from shared.strategy.series import Series, Truths

_MOST = 4096
_MIRRORED = {"<": ">", "<=": ">=", "crosses_below": "crosses_above"}  # the same with left and right changed over


class Panel:
    """What was asked for once is answered for every new bar."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._places: dict[Column | Number, int] = {}
        self._readers: list[Callable[[int], float]] = []
        self._rows: list[tuple[str, int, int, Truths]] = []
        self._ordered = True
        self._groups: list[tuple[str, slice, list[Truths]]] = []
        self._left = self._right = np.empty(0, dtype=np.intp)
        self._at = -1
        self._both: Values = np.empty((2, 0))  # the values at the bar before, and at this one

    def takes(self, node: Node) -> bool:
        return (
            isinstance(node, Comparison)
            and node.for_bars == 1
            and _is_plain(node.left)
            and _is_plain(node.right)
            and len(self._rows) < _MOST
        )

    def add(self, node: Comparison, known: Truths) -> None:
        op, left, right = node.op, self._place(node.left), self._place(node.right)
        if op in _MIRRORED:
            op, left, right = _MIRRORED[op], right, left
        self._rows.append((op, left, right, known))
        self._ordered = False

    def answer(self, index: int) -> None:
        """Carries on all that is known up to this bar, which is not the first."""
        if not self._ordered:
            self._order()
        if self._at != index - 1:
            self._both = np.empty((2, len(self._readers)))
            self._both[1] = self._values(index - 1)
        self._both[0] = self._both[1]
        self._both[1] = self._values(index)
        self._at = index
        left, right = self._both[:, self._left], self._both[:, self._right]
        for op, part, asked in self._groups:
            if op.startswith("crosses"):
                truth = crossed(op, left[:, part], right[:, part])[0]
            else:
                truth = compared(op, left[1, part], right[1, part])
            for known, value in zip(asked, truth.tolist(), strict=True):
                if len(known.values) == index:
                    known.values.append(value)

    def _values(self, index: int) -> list[float]:
        return [read(index) for read in self._readers]

    def _place(self, operand: Operand) -> int:
        key: Column | Number
        if isinstance(operand, Number):
            key, read = operand, value_at(operand, self._series)
        else:
            key, read = operand.column, operand.column.value_at(self._series)
        if key not in self._places:
            self._places[key] = len(self._readers)
            self._readers.append(read)
            self._at = -1
        return self._places[key]

    def _order(self) -> None:
        """Rows with the same operator stand together."""
        self._rows.sort(key=lambda row: row[0])
        operators = [row[0] for row in self._rows]
        self._groups = []
        for op in dict.fromkeys(operators):
            part = slice(operators.index(op), operators.index(op) + operators.count(op))
            self._groups.append((op, part, [row[3] for row in self._rows[part]]))
        self._left = np.array([row[1] for row in self._rows], dtype=np.intp)
        self._right = np.array([row[2] for row in self._rows], dtype=np.intp)
        self._ordered = True


def _is_plain(operand: Operand) -> bool:
    return isinstance(operand, Number) or (operand.shift == 0 and operand.mul == 1 and operand.add == 0)
