"""Pages of lists: {items, next_cursor}. A cursor is opaque to clients and stable under inserts."""

import base64
import binascii
import json
from collections.abc import Callable
from typing import Generic, TypeVar

from pydantic import BaseModel, Field

from shared.chassis.errors import InvalidInput
from shared.contracts.json_text import is_storable
from shared.contracts.types import QueryModel, ViewModel

T = TypeVar("T")

LONGEST_CURSOR = 2_000  # a name of 100 characters takes at most 900 of them
MAX_PAGE_BYTES = 1_000_000  # plus the item that reaches it


class Page(ViewModel, Generic[T]):
    items: list[T]
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


def encode_sorted(sort: str, *position: str | int) -> str:
    """Encode a cursor of a list that has several sort orders."""
    return encode_cursor(sort, *position)


def decode_sorted(sort: str, cursor: str | None, *kinds: type) -> tuple[str | int, ...] | None:
    """Return the position in this order. Raises InvalidInput, also for a cursor of another order."""
    position = decode_cursor(cursor, str, *kinds)
    if position is None:
        return None
    if position[0] != sort:
        raise InvalidInput(errors=[{"path": "$.cursor", "reason": f"is of a list sorted by {position[0]!r:.40}"}])
    return position[1:]


def page_of(rows: list[T], limit: int, cursor_of: Callable[[T], str]) -> Page[T]:
    """Build a page from limit + 1 rows: the extra row means that there is a next page.

    So do rows that are cut off because the page would exceed its size in bytes.
    """
    items = _limit_bytes(rows[:limit])
    return Page[T](items=items, next_cursor=cursor_of(items[-1]) if len(rows) > len(items) else None)


def _limit_bytes(items: list[T]) -> list[T]:
    size = 0
    for count, item in enumerate(items, 1):
        size += _bytes_of(item)
        if size >= MAX_PAGE_BYTES:
            return items[:count]
    return items


def _bytes_of(item: object) -> int:
    """Return the size as JSON; approximate for a row that is turned into a view later."""
    text = item.model_dump_json() if isinstance(item, BaseModel) else str(item)
    return len(text.encode(errors="replace"))
