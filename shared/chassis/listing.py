"""Lists in SQL: their order, and the part of a list that follows a row."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

Position = tuple[object, ...]
"""The values of an order's columns in one row."""

_SQL_TYPES: Mapping[type, str] = {
    datetime: "timestamptz",
    date: "date",
    UUID: "uuid",
    int: "bigint",
    str: "text",
    Decimal: "numeric",
}


class Order:
    """Columns, with the types of their values, that sort a list and together identify a row of it.

    The names are constants of our code, never a client's text: they are written into the SQL.
    """

    def __init__(self, **columns: type) -> None:
        self.columns: Mapping[str, type] = columns

    def position_of(self, row: object) -> Position:
        return tuple(getattr(row, name) for name in self.columns)


@dataclass(frozen=True)
class Slice:
    """At most `limit` rows of a list, from its beginning or after the row at a position."""

    order: Order
    limit: int
    after: Position | None = None
    descending: bool = False

    def sql(self, first: int, table: str = "") -> str:
        """Return the end of a statement that has a WHERE clause. Its parameters are `arguments`, numbered from
        `first` on; `table` is the name of the columns' table if the statement has several."""
        names = [f"{table}.{name}" if table else name for name in self.order.columns]
        order = ", ".join(f"{name} {'DESC' if self.descending else 'ASC'}" for name in names)
        return f"{self._beyond(names, first)} ORDER BY {order} LIMIT ${first + len(self.after or ())}"

    def _beyond(self, names: list[str], first: int) -> str:
        if self.after is None:
            return ""
        types = [_SQL_TYPES[kind] for kind in self.order.columns.values()]
        values = ", ".join(f"${number}::{kind}" for number, kind in enumerate(types, first))
        return f"AND ({', '.join(names)}) {'<' if self.descending else '>'} ({values})"

    @property
    def arguments(self) -> Position:
        return (*(self.after or ()), self.limit)
