"""The grammar of conditions."""

from collections.abc import Mapping
from decimal import Decimal

from shared.contracts.json_text import child
from shared.strategy.document.nodes import (
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

MAX_DEPTH = 8
MAX_NODES = 128
OPERATORS = (">", ">=", "<", "<=", "==", "crosses_above", "crosses_below")


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
