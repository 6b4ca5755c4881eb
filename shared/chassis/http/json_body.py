"""JSON bodies of clients."""

import json
from decimal import Decimal

from shared.chassis.errors import InvalidBody
from shared.contracts.json_text import InvalidDocument, read_json
from shared.contracts.types import decimal_text


def parse_body(raw: bytes) -> object:
    """Raises InvalidBody with the reason."""
    try:
        return read_json(raw)
    except InvalidDocument as error:
        raise InvalidBody(str(error.faults[0])) from error


def as_stored(value: dict[str, object]) -> dict[str, object]:
    """Return the value as JSON without floats: numbers with a point become decimal strings."""
    stored: dict[str, object] = json.loads(json.dumps(value, default=_as_text))
    return stored


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return decimal_text(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
