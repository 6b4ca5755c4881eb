"""Evaluates all plain comparisons on a series at once, for its newest bar.

Many sessions on a series have many conditions, most of them plain: two columns or numbers without shift, factor or
`for_bars`. The panel reads each column once and compares on arrays. `one_bar.py` evaluates the other conditions.
"""

from collections.abc import Callable

import numpy as np

from shared.strategy.conditions.arrays import compare, crosses
from shared.strategy.conditions.one_bar import value_at
from shared.strategy.conditions.tolerance import Values
from shared.strategy.document.nodes import Column, Comparison, Node, Number, Operand
from shared.strategy.series import Series, Truths

_MAX_ROWS = 4096
_MIRRORED = {"<": ">", "<=": ">=", "crosses_below": "crosses_above"}  # the same with left and right swapped


class Panel:
    """Evaluates every comparison that was added, at each new bar."""

    def __init__(self, series: Series) -> None:
        self._series = series
        self._reader_indexes: dict[Column | Number, int] = {}
        self._readers: list[Callable[[int], float]] = []
        self._rows: list[tuple[str, int, int, Truths]] = []
        self._sorted = True
        self._groups: list[tuple[str, slice, list[Truths]]] = []
        self._left = self._right = np.empty(0, dtype=np.intp)
        self._at = -1
        self._both: Values = np.empty((2, 0))  # the values at the previous bar and at the current one

    def accepts(self, node: Node) -> bool:
        return (
            isinstance(node, Comparison)
            and node.for_bars == 1
            and _is_plain(node.left)
            and _is_plain(node.right)
            and len(self._rows) < _MAX_ROWS
        )

    def add(self, node: Comparison, cached: Truths) -> None:
        op, left, right = node.op, self._reader_index(node.left), self._reader_index(node.right)
        if op in _MIRRORED:
            op, left, right = _MIRRORED[op], right, left
        self._rows.append((op, left, right, cached))
        self._sorted = False

    def evaluate(self, index: int) -> None:
        """Append this bar's truth to all truths that reach up to it. The bar must not be the first."""
        if not self._sorted:
            self._sort_rows()
        if self._at != index - 1:
            self._both = np.empty((2, len(self._readers)))
            self._both[1] = self._values(index - 1)
        self._both[0] = self._both[1]
        self._both[1] = self._values(index)
        self._at = index
        left, right = self._both[:, self._left], self._both[:, self._right]
        for op, part, truths in self._groups:
            if op.startswith("crosses"):
                truth = crosses(op, left[:, part], right[:, part])[0]
            else:
                truth = compare(op, left[1, part], right[1, part])
            for cached, value in zip(truths, truth.tolist(), strict=True):
                if len(cached.values) == index:
                    cached.values.append(value)

    def _values(self, index: int) -> list[float]:
        return [read(index) for read in self._readers]

    def _reader_index(self, operand: Operand) -> int:
        key: Column | Number
        if isinstance(operand, Number):
            key, read = operand, value_at(operand, self._series)
        else:
            key, read = operand.column, operand.column.value_at(self._series)
        if key not in self._reader_indexes:
            self._reader_indexes[key] = len(self._readers)
            self._readers.append(read)
            self._at = -1
        return self._reader_indexes[key]

    def _sort_rows(self) -> None:
        """Sort the rows by operator, so that each operator is evaluated on one slice."""
        self._rows.sort(key=lambda row: row[0])
        operators = [row[0] for row in self._rows]
        self._groups = []
        for op in dict.fromkeys(operators):
            part = slice(operators.index(op), operators.index(op) + operators.count(op))
            self._groups.append((op, part, [row[3] for row in self._rows[part]]))
        self._left = np.array([row[1] for row in self._rows], dtype=np.intp)
        self._right = np.array([row[2] for row in self._rows], dtype=np.intp)
        self._sorted = True


def _is_plain(operand: Operand) -> bool:
    return isinstance(operand, Number) or (operand.shift == 0 and operand.mul == 1 and operand.add == 0)
