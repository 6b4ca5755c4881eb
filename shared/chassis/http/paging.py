"""Pages of lists: {items, next_cursor}. A cursor is opaque to clients and stable under inserts."""

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import ClassVar, Generic, TypeVar
from uuid import UUID

from pydantic import BaseModel, Field

from shared.chassis.errors import InvalidInput
from shared.chassis.listing import Order, Position, Slice
from shared.contracts.json_text import is_storable
from shared.contracts.types import QueryModel, ViewModel, decimal_text, from_us, to_us

R = TypeVar("R")
V = TypeVar("V", bound=BaseModel)

LONGEST_CURSOR = 2_000  # a name of 100 characters takes at most 900 of them
MAX_PAGE_BYTES = 1_000_000  # plus the item that reaches it


class Page(ViewModel, Generic[V]):
    items: list[V]
    next_cursor: str | None = None


class PageQuery(QueryModel):
    limit: int = Field(default=50, ge=1, le=200)
    cursor: str | None = Field(default=None, max_length=LONGEST_CURSOR)


def encode_cursor(*position: str | int) -> str:
    """Encode the position after which the next page begins."""
    text = json.dumps(position, ensure_ascii=False, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str | None, *kinds: type, path: str = "$.cursor") -> tuple[str | int, ...] | None:
    """Return the position, or None for the first page. Raises InvalidInput for a cursor of another list.

    `path` is its source if that is not the query: the Last-Event-ID of a stream is a cursor too.
    """
    if cursor is None:
        return None
    try:
        position = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(position, list) or [type(part) for part in position] != list(kinds):
            raise ValueError("another list's cursor")
        if any(isinstance(part, int) and abs(part) >= 2**63 for part in position):
            raise ValueError("out of range")
        if any(isinstance(part, str) and not is_storable(part) for part in position):
            raise ValueError("not text")
    except (ValueError, binascii.Error, RecursionError) as error:
        raise invalid_cursor(path) from error
    return tuple(position)


def invalid_cursor(path: str = "$.cursor") -> InvalidInput:
    return InvalidInput(errors=[{"path": path, "reason": "is not a cursor of this list"}])


def encode_sorted(sort: str, *position: object) -> str:
    """Encode a cursor of a list that has several sort orders."""
    return encode_cursor(sort, *map(_to_wire, position))


def decode_sorted(sort: str, cursor: str | None, *kinds: type) -> Position | None:
    """Return the position in this order. Raises InvalidInput, also for a cursor of another order."""
    parts = decode_cursor(cursor, str, *map(_wire_type, kinds))
    if parts is None:
        return None
    if parts[0] != sort:
        raise InvalidInput(errors=[{"path": "$.cursor", "reason": f"is of a list sorted by {parts[0]!r:.40}"}])
    try:
        return tuple(_from_wire(part, kind) for part, kind in zip(parts[1:], kinds, strict=True))
    except (ValueError, ArithmeticError) as error:
        raise invalid_cursor() from error


def _to_wire(value: object) -> str | int:
    if isinstance(value, datetime):
        return to_us(value)
    if isinstance(value, Decimal):
        return decimal_text(value)
    return value if isinstance(value, int) else str(value)


def _wire_type(kind: type) -> type:
    return int if issubclass(kind, datetime | int) else str


def _from_wire(part: str | int, kind: type) -> object:
    """Raises ValueError, ArithmeticError."""
    if issubclass(kind, datetime):
        return from_us(int(part))
    if issubclass(kind, date):
        return date.fromisoformat(str(part))
    if issubclass(kind, Decimal):
        if not (amount := Decimal(part)).is_finite():
            raise ValueError("not finite")
        return amount
    if issubclass(kind, UUID):
        return UUID(str(part))
    return kind(part) if issubclass(kind, int) else part  # an IntEnum has no other values


class ListQuery(PageQuery):
    """A page of a list that is sorted by one of `orders`: `sort` is its name, with a minus for descending order."""

    orders: ClassVar[Mapping[str, Order]]

    sort: str

    @property
    def order(self) -> Order:
        return self.orders[self.sort.removeprefix("-")]

    def slice(self) -> Slice:
        """Return the rows to read: one more than the page shows. Raises InvalidInput."""
        after = decode_sorted(self.sort, self.cursor, *self.order.columns.values())
        return Slice(self.order, self.limit + 1, after, self.sort.startswith("-"))

    def page_of(self, rows: Sequence[R], view_of: Callable[[R], V]) -> Page[V]:
        """Build the page from the rows of `slice`."""
        return page_of(
            rows, self.limit, view_of, lambda row: encode_sorted(self.sort, *self.order.position_of(row))
        )


def page_of(rows: Sequence[R], limit: int, view_of: Callable[[R], V], cursor_of: Callable[[R], str]) -> Page[V]:
    """Build a page from limit + 1 rows: the extra row means that there is a next page.

    So do rows that are cut off because the page would exceed its size in bytes.
    """
    items = _limit_bytes([view_of(row) for row in rows[:limit]])
    return Page[V](items=items, next_cursor=cursor_of(rows[len(items) - 1]) if len(rows) > len(items) else None)


def _limit_bytes(items: list[V]) -> list[V]:
    size = 0
    for count, item in enumerate(items, 1):
        size += len(item.model_dump_json().encode())
        if size >= MAX_PAGE_BYTES:
            return items[:count]
    return items
