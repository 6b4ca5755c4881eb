"""The meaning of the operators, once for arrays and for one bar: tables from the order of two values to a truth.

The truths are ordered, so that `all` is the least of its parts, `any` the greatest, and `not` is `TRUE - part`.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from shared.strategy.tolerance import ABOVE, BELOW, EQUAL, UNORDERED, Orders

FALSE, UNDEFINED, TRUE = range(3)
Truth = npt.NDArray[np.uint8]
OrderOrOrders = TypeVar("OrderOrOrders", int, Orders)

_TRUE_IF = {">": (ABOVE,), ">=": (ABOVE, EQUAL), "<": (BELOW,), "<=": (BELOW, EQUAL), "==": (EQUAL,)}
_CROSSES_TO = {"crosses_above": ABOVE, "crosses_below": BELOW}
_ORDERS = (BELOW, EQUAL, ABOVE, UNORDERED)
_TABLE_SIZE = 256  # as `bytes.translate` needs it


def is_crossing(op: str) -> bool:
    """Return whether the operator also depends on the order at the previous bar."""
    return op in _CROSSES_TO


def pair(before: OrderOrOrders, now: OrderOrOrders) -> OrderOrOrders:
    """Return the index of two successive orders in the table of a crossing."""
    return len(_ORDERS) * before + now


def look_up(op: str, orders: Orders) -> Truth:
    """Return the truth for each order; for a crossing, for each but the first, with the one before it."""
    indexes = pair(orders[:-1], orders[1:]) if is_crossing(op) else orders
    return np.frombuffer(indexes.tobytes().translate(TABLES[op]), dtype=np.uint8).reshape(indexes.shape)


def _truth(defined: bool, holds: bool) -> int:
    return UNDEFINED if not defined else TRUE if holds else FALSE


def _tables() -> Mapping[str, bytes]:
    tables = {op: [_truth(now != UNORDERED, now in true_if) for now in _ORDERS] for op, true_if in _TRUE_IF.items()}
    for op, beyond in _CROSSES_TO.items():
        tables[op] = [
            _truth(UNORDERED not in (before, now), before != beyond and now == beyond)
            for before in _ORDERS
            for now in _ORDERS
        ]
    return MappingProxyType({op: bytes(table).ljust(_TABLE_SIZE) for op, table in tables.items()})


TABLES = _tables()
"""The truth of each operator by order; of a crossing, by `pair` of orders."""
