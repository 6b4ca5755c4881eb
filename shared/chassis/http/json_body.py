"""JSON bodies of clients."""

import json
from codecs import BOM_UTF8
from decimal import Decimal

from shared.chassis.errors import InvalidBody
from shared.contracts.json_text import InvalidDocument, read_json
from shared.contracts.types import decimal_text


def parse_body(raw: bytes) -> object:
    """Raises InvalidBody with the reason."""
    if raw.startswith(BOM_UTF8):  # RFC 8259: it must not be sent over a network
        raise InvalidBody("$: must not begin with a byte order mark")
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
