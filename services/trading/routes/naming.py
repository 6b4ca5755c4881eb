"""What several of these routes need."""

from uuid import UUID

from shared.chassis.errors import InvalidInput
from shared.chassis.http import EndpointHandler
from shared.chassis.paging import decode_cursor


def named(handler: EndpointHandler, operation: str) -> EndpointHandler:
    """OpenAPI calls an operation by its handler's name."""
    handler.__name__ = operation
    return handler


def decode_uuid_cursor(cursor: str | None) -> UUID | None:
    """A position that is an id. Raises InvalidInput."""
    position = decode_cursor(cursor, str)
    if position is None:
        return None
    try:
        return UUID(str(position[0]))
    except ValueError as error:
        raise InvalidInput(errors=[{"path": "$.cursor", "reason": "is not a cursor of this list"}]) from error
