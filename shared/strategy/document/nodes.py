"""The nodes of a condition: columns, operands, comparisons and their combinations."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from shared.contracts.types import decimal_text
from shared.strategy.indicators.recipes import IndicatorSpec
from shared.strategy.series import Series
from shared.strategy.tolerance import Values


@dataclass(frozen=True, slots=True)
class Column:
    """A candle field or an output of an indicator. `name` does not count in comparisons."""

    name: str = field(repr=False, compare=False)
    field_name: str | None
    spec: IndicatorSpec | None = None
    output: str = ""

    def values(self, series: Series) -> Values:
        if self.field_name is not None:
            return series.column(self.field_name)
        assert self.spec is not None
        return series.values(self.spec)[self.output]

    def value_at(self, series: Series) -> Callable[[int], float]:
        """Return a function from a bar's index to the value; it stays valid as the series grows."""
        if self.field_name is not None:
            return series.candle_at(self.field_name)
        assert self.spec is not None
        return series.value_at(self.spec, self.output)


@dataclass(frozen=True, slots=True)
class Number:
    value: Decimal

    def canonical(self) -> object:
        return decimal_text(self.value)


@dataclass(frozen=True, slots=True)
class Reference:
    """`column[t - shift] * mul + add`."""

    column: Column
    shift: int = 0
    mul: Decimal = Decimal(1)
    add: Decimal = Decimal(0)

    @property
    def is_plain(self) -> bool:
        return self.shift == 0 and self.mul == 1 and self.add == 0

    def canonical(self) -> object:
        if self.is_plain:
            return self.column.name
        return {
            "ref": self.column.name,
            "shift": self.shift,
            "mul": decimal_text(self.mul),
            "add": decimal_text(self.add),
        }


Operand = Number | Reference


@dataclass(frozen=True, slots=True)
class Comparison:
    left: Operand
    op: str
    right: Operand
    for_bars: int = 1

    def canonical(self) -> object:
        return {
            "left": self.left.canonical(),
            "op": self.op,
            "right": self.right.canonical(),
            "for_bars": self.for_bars,
        }


@dataclass(frozen=True, slots=True)
class Group:
    """`all` or `any` of its parts."""

    kind: str
    parts: "tuple[Node, ...]"

    def canonical(self) -> object:
        return {self.kind: [part.canonical() for part in self.parts]}


@dataclass(frozen=True, slots=True)
class Not:
    part: "Node"

    def canonical(self) -> object:
        return {"not": self.part.canonical()}


Node = Comparison | Group | Not


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition. Conditions that differ only in indicator names have the same `key`."""

    root: Node
    key: str

    def canonical(self) -> object:
        return self.root.canonical()

    @property
    def lookback(self) -> int:
        """The longest period in it, with its shift and for_bars, in bars."""
        return _lookback(self.root)


def _lookback(node: Node) -> int:
    if isinstance(node, Group):
        return max(map(_lookback, node.parts))
    if isinstance(node, Not):
        return _lookback(node.part)
    longest = 1
    for operand in (node.left, node.right):
        if isinstance(operand, Reference):
            spec = operand.column.spec
            longest = max(longest, (spec.longest_period if spec else 1) + operand.shift)
    return longest + node.for_bars - 1 + node.op.startswith("crosses")
