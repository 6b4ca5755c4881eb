"""Evaluate conditions at one bar: True, False, or None where undefined."""

import math
from decimal import Decimal

from tests.reference.document import is_number
from tests.reference.indicators import Candles, Column, above, indicator

Columns = dict[str, Column]


def columns_of(candles: Candles, indicators: dict[str, object]) -> Columns:
    """Return a column for every name that an operand can use."""
    columns = {name: candles.column(name) for name in ("open", "high", "low", "close", "volume")}
    for name, spec in indicators.items():
        assert isinstance(spec, dict)
        for output, values in indicator(candles, spec).items():
            columns[f"{name}.{output}" if output else name] = values
    return columns


def _value(columns: Columns, operand: object, t: int) -> float:
    if is_number(operand):
        return float(Decimal(str(operand)))
    ref = operand if isinstance(operand, dict) else {"ref": operand, "shift": 0}
    at = t - int(str(ref.get("shift") or 0))
    if at < 0:
        return math.nan
    value = columns[str(ref["ref"])][at]
    if isinstance(operand, dict):
        mul = ref.get("mul")
        return value * float(Decimal(str(1 if mul is None else mul))) + float(Decimal(str(ref.get("add") or 0)))
    return value


def _compare(columns: Columns, node: dict[str, object], t: int) -> bool | None:
    if t < 0:
        return None
    left, right = _value(columns, node["left"], t), _value(columns, node["right"], t)
    if math.isnan(left) or math.isnan(right):
        return None
    op = node["op"]
    if op == ">":
        return above(left, right)
    if op == ">=":
        return not above(right, left)
    if op == "<":
        return above(right, left)
    if op == "<=":
        return not above(left, right)
    if op == "==":
        return not above(left, right) and not above(right, left)
    if t < 1:
        return None
    left_before, right_before = _value(columns, node["left"], t - 1), _value(columns, node["right"], t - 1)
    if math.isnan(left_before) or math.isnan(right_before):
        return None
    if op == "crosses_above":
        return not above(left_before, right_before) and above(left, right)
    return not above(right_before, left_before) and above(right, left)


def _all(values: list[bool | None]) -> bool | None:
    return False if False in values else None if None in values else True


def evaluate(columns: Columns, node: object, t: int) -> bool | None:
    assert isinstance(node, dict)
    if "all" in node:
        return _all([evaluate(columns, each, t) for each in node["all"]])
    if "any" in node:
        values = [evaluate(columns, each, t) for each in node["any"]]
        return True if True in values else None if None in values else False
    if "not" in node:
        inner = evaluate(columns, node["not"], t)
        return None if inner is None else not inner
    bars = int(node.get("for_bars") or 1)
    return _all([_compare(columns, node, t - i) for i in range(bars)])
