"""The grammar of conditions, and their three-valued truth on a series.

A backtest evaluates all bars at once, on arrays. A live session evaluates the newest bar: `panel.py` evaluates all
plain comparisons of a series together, `one_bar.py` every other condition. The series caches the results, so that
sessions with the same condition share them.
"""

from collections.abc import Mapping
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from shared.contracts.json_text import child
from shared.strategy.conditions.arrays import Truth, compare, crosses
from shared.strategy.conditions.one_bar import truth_at
from shared.strategy.conditions.panel import Panel
from shared.strategy.conditions.tolerance import Values
from shared.strategy.document.nodes import (
    FALSE,
    TRUE,
    UNDEFINED,
    Column,
    Comparison,
    Condition,
    Group,
    Node,
    Not,
    Number,
    Operand,
    Reference,
)
from shared.strategy.document.reader import DocumentReader, is_decimal_text, quoted
from shared.strategy.indicators.recipes import CANDLE_FIELDS, MAX_PERIOD, IndicatorSpec
from shared.strategy.series import Series, Truths

MAX_DEPTH = 8
MAX_NODES = 128
OPERATORS = (">", ">=", "<", "<=", "==", "crosses_above", "crosses_below")
_BAR_BY_BAR = 4  # up to so many bars are cheaper one at a time
_NOT = np.array([TRUE, FALSE, UNDEFINED], dtype=np.uint8)


def truths(condition: Condition, series: Series) -> bytearray:
    """Return FALSE, TRUE or UNDEFINED for every bar of the series."""
    return extend_truths(condition, series, series.truths(condition.key))


def extend_truths(condition: Condition, series: Series, cached: Truths) -> bytearray:
    """Extend the cached truths to the last bar of the series and return them."""
    missing = len(series) - len(cached.values)
    if missing > _BAR_BY_BAR:
        with np.errstate(all="ignore"):
            cached.values += _truth(condition.root, series, len(cached.values), len(series)).tobytes()
    elif missing:
        _extend_bar_by_bar(condition, series, cached)
    return cached.values


def _extend_bar_by_bar(condition: Condition, series: Series, cached: Truths) -> None:
    if cached.at is None:
        cached.at = truth_at(condition.root, series)
        if series.panel is None:
            series.panel = Panel(series)
        if isinstance(condition.root, Comparison) and series.panel.accepts(condition.root):
            series.panel.add(condition.root, cached)
            cached.in_panel = True
    for index in range(len(cached.values), len(series)):
        if cached.in_panel and index > 0 and series.panel is not None:
            series.panel.evaluate(index)
        else:
            cached.values.append(cached.at(index))


def evaluate(condition: Condition, series: Series, index: int) -> bool | None:
    """Return the condition's truth at the bar; None if undefined."""
    truth = truths(condition, series)[index]
    return None if truth == UNDEFINED else truth == TRUE


def _truth(node: Node, series: Series, start: int, stop: int) -> Truth:
    if isinstance(node, Comparison):
        return _truth_for_bars(node, series, start, stop)
    if isinstance(node, Not):
        return _NOT[_truth(node.part, series, start, stop)]
    parts = np.stack([_truth(part, series, start, stop) for part in node.parts])
    decisive, other = (FALSE, TRUE) if node.kind == "all" else (TRUE, FALSE)
    undecided = np.where((parts == UNDEFINED).any(axis=0), UNDEFINED, other)
    return np.where((parts == decisive).any(axis=0), decisive, undecided).astype(np.uint8)


def _truth_for_bars(node: Comparison, series: Series, start: int, stop: int) -> Truth:
    """Return whether the comparison is true at each bar and at all of the `for_bars - 1` bars before it."""
    reach = node.for_bars - 1
    single = _comparison_truth(node, series, start - reach, stop)
    if reach == 0:
        return single
    any_false = _any_in_window(single == FALSE, node.for_bars)
    any_undefined = _any_in_window(single == UNDEFINED, node.for_bars)
    return np.where(any_false, FALSE, np.where(any_undefined, UNDEFINED, TRUE)).astype(np.uint8)


def _any_in_window(flags: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    counts = np.concatenate(([0], np.cumsum(flags)))
    return counts[width:] > counts[:-width]


def _comparison_truth(node: Comparison, series: Series, start: int, stop: int) -> Truth:
    if not node.op.startswith("crosses"):
        return compare(node.op, *(_operand(each, series, start, stop) for each in (node.left, node.right)))
    first = max(start - 1, 0)
    left, right = (_operand(each, series, first, stop) for each in (node.left, node.right))
    truth = crosses(node.op, left, right)
    before = min(first + 1, stop) - start  # bars that have no previous bar
    return np.concatenate((np.full(before, UNDEFINED, dtype=np.uint8), truth)) if before > 0 else truth


def _operand(operand: Operand, series: Series, start: int, stop: int) -> Values:
    """Return the values at start … stop - 1; NaN before the first bar, for numbers too."""
    if isinstance(operand, Number):
        constant = np.full(stop - start, float(operand.value))
        constant[: max(0, min(-start, stop - start))] = np.nan
        return constant
    column = operand.column.values(series)
    first, last = start - operand.shift, stop - operand.shift
    if first >= 0:
        values = column[first:last]
    else:
        values = np.concatenate((np.full(min(-first, stop - start), np.nan), column[: max(0, last)]))
    if operand.mul == 1 and operand.add == 0:
        return values
    return values * float(operand.mul) + float(operand.add)


def parse_condition(raw: object, indicators: Mapping[str, IndicatorSpec], path: str = "$") -> Condition:
    """Parse a single condition. Raises StrategyError with all its faults."""
    reader = DocumentReader()
    condition = ConditionReader(reader, indicators).condition(raw, path)
    reader.check()
    assert condition is not None
    return condition


class ConditionReader:
    """Parses the conditions of one document; they share the limit on nodes."""

    def __init__(self, reader: DocumentReader, indicators: Mapping[str, IndicatorSpec]) -> None:
        self._reader = reader
        self._indicators = indicators
        self._nodes = 0

    def condition(self, raw: object, path: str) -> Condition | None:
        """Return the condition, or None after recording a fault."""
        before = len(self._reader.faults)
        root = self._node(raw, path, 1)
        if root is None or len(self._reader.faults) > before:
            return None
        return Condition(root, repr(root))

    def column(self, raw: object, path: str, indicators_only: bool = False) -> Column | None:
        """Return the column that a name refers to: `close`, `fast`, `bands.upper`."""
        if not isinstance(raw, str):
            self._reader.fault(path, "must be a name")
            return None
        if raw in CANDLE_FIELDS and not indicators_only:
            return Column(raw, raw)
        name, dot, output = raw.partition(".")
        spec = self._indicators.get(name)
        if name in self._reader.faulty_names:
            return None
        if spec is None:
            self._reader.fault(path, f"{quoted(raw)} is not defined")
            return None
        if spec.outputs == ("value",):
            if dot:
                self._reader.fault(path, f"{name} has one output and is written without a dot")
                return None
            return Column(raw, None, spec, "value")
        if not dot or output not in spec.outputs:
            expected = " ".join(f"{name}.{each}" for each in spec.outputs)
            self._reader.fault(path, f"must name an output: {expected}")
            return None
        return Column(raw, None, spec, output)

    def _node(self, raw: object, path: str, depth: int) -> Node | None:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            if self._nodes == MAX_NODES + 1:
                self._reader.fault(path, f"is one condition node too many: the document may have {MAX_NODES}")
            return None
        if depth > MAX_DEPTH:
            self._reader.fault(path, f"is nested deeper than {MAX_DEPTH}")
            return None
        if not isinstance(raw, Mapping):
            self._reader.fault(path, "must be a condition object")
            return None
        for kind in ("all", "any"):
            if kind in raw:
                return self._group(kind, raw, path, depth)
        if "not" in raw:
            members = self._reader.members(raw, path, ["not"])
            part = self._node(members["not"], child(path, "not"), depth + 1) if members else None
            return Not(part) if part is not None else None
        return self._comparison(raw, path)

    def _group(self, kind: str, raw: object, path: str, depth: int) -> Group | None:
        members = self._reader.members(raw, path, [kind])
        if not members:
            return None
        parts = members[kind]
        path = child(path, kind)
        if not isinstance(parts, list) or not parts:
            self._reader.fault(path, "must be a list of at least one condition")
            return None
        nodes = []
        for index, part in enumerate(parts):
            if self._nodes > MAX_NODES:
                break
            nodes.append(self._node(part, child(path, index), depth + 1))
        return Group(kind, tuple(node for node in nodes if node is not None))

    def _comparison(self, raw: object, path: str) -> Comparison | None:
        members = self._reader.members(raw, path, ["left", "op", "right"], ["for_bars"])
        for_bars = 1
        if "for_bars" in members:
            for_bars = self._reader.integer(members["for_bars"], child(path, "for_bars"), 1, MAX_PERIOD)
        op = self._reader.choice(members["op"], child(path, "op"), OPERATORS) if "op" in members else ">"
        left = self._operand(members["left"], child(path, "left")) if "left" in members else None
        right = self._operand(members["right"], child(path, "right")) if "right" in members else None
        if left is None or right is None:
            return None
        return Comparison(left, op, right, for_bars)

    def _operand(self, raw: object, path: str) -> Operand | None:
        if isinstance(raw, Mapping):
            return self._reference(raw, path)
        if isinstance(raw, str) and not is_decimal_text(raw):
            column = self.column(raw, path)
            return Reference(column) if column is not None else None
        if isinstance(raw, str | int | float | Decimal) and not isinstance(raw, bool):
            value = self._reader.decimal(raw, path)
            return Number(value) if value is not None else None
        self._reader.fault(path, "must be a number, a name or a ref")
        return None

    def _reference(self, raw: object, path: str) -> Reference | None:
        reader = self._reader
        members = reader.members(raw, path, ["ref"], ["shift", "mul", "add"])
        column = self.column(members["ref"], child(path, "ref")) if "ref" in members else None
        shift = reader.integer(members.get("shift", 0), child(path, "shift"), 0, MAX_PERIOD)
        mul = reader.decimal(members.get("mul", 1), child(path, "mul"))
        add = reader.decimal(members.get("add", 0), child(path, "add"))
        if column is None or mul is None or add is None:
            return None
        return Reference(column, shift, mul, add)
