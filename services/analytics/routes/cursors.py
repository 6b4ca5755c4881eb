"""Parses the cursors of these lists. A forged cursor raises InvalidInput, like any other bad input."""

from datetime import date, datetime
from uuid import UUID

from pydantic import TypeAdapter

from shared.chassis.http.paging import invalid_cursor
from shared.contracts.types import Instant

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
Position = tuple[str | int, ...] | None


def parse_date(position: Position) -> date | None:
    try:
        return date.fromisoformat(str(position[0])) if position else None
    except ValueError as error:
        raise invalid_cursor() from error


def parse_id(position: Position) -> UUID | None:
    try:
        return UUID(str(position[0])) if position else None
    except ValueError as error:
        raise invalid_cursor() from error


def parse_time_and_id(position: Position) -> tuple[datetime, UUID] | None:
    """Parse the time and id of a row."""
    try:
        return (_INSTANT.validate_python(position[0]), UUID(str(position[1]))) if position else None
    except ValueError as error:
        raise invalid_cursor() from error


def parse_equity_position(position: Position) -> tuple[datetime, int, UUID] | None:
    """Parse the time, rank (kind) and id of an equity point."""
    try:
        if not position:
            return None
        return (_INSTANT.validate_python(position[0]), _rank(position[1]), UUID(str(position[2])))
    except ValueError as error:
        raise invalid_cursor() from error


def _rank(value: str | int) -> int:
    if value not in (0, 1, 2):
        raise ValueError("of another list")
    return int(value)
