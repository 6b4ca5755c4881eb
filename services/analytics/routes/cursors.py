"""What stands in the cursors of these lists; a forged one is refused like any other bad input."""

from datetime import date, datetime
from uuid import UUID

from pydantic import TypeAdapter

from shared.chassis.errors import InvalidInput
from shared.contracts.types import Instant

_INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)
Position = tuple[str | int, ...] | None


def date_in(position: Position) -> date | None:
    try:
        return date.fromisoformat(str(position[0])) if position else None
    except ValueError as error:
        raise no_cursor() from error


def id_in(position: Position) -> UUID | None:
    try:
        return UUID(str(position[0])) if position else None
    except ValueError as error:
        raise no_cursor() from error


def moment_in(position: Position) -> tuple[datetime, UUID] | None:
    """A time and the id of what stands at it."""
    try:
        return (_INSTANT.validate_python(position[0]), UUID(str(position[1]))) if position else None
    except ValueError as error:
        raise no_cursor() from error


def point_in(position: Position) -> tuple[datetime, int, UUID] | None:
    """A time, what kind of thing stands at it, and its id."""
    try:
        if not position:
            return None
        return (_INSTANT.validate_python(position[0]), _rank(position[1]), UUID(str(position[2])))
    except ValueError as error:
        raise no_cursor() from error


def _rank(value: str | int) -> int:
    if value not in (0, 1, 2):
        raise ValueError("of another list")
    return int(value)


def no_cursor() -> InvalidInput:
    return InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}])
