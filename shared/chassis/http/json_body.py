"""Parses JSON from clients: numbers become Decimal, and ambiguous JSON is refused."""

import json
from decimal import Decimal, InvalidOperation

from shared.chassis.errors import InvalidBody
from shared.contracts.types import decimal_text

DEEPEST = 100
LONGEST_NUMBER = 60


def parse_body(raw: bytes) -> object:
    """Raises InvalidBody with the reason."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBody("the body is not UTF-8") from error
    try:
        parsed = json.loads(
            text,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
            object_pairs_hook=_unique,
        )
    except RecursionError as error:
        raise InvalidBody("the body is nested too deeply") from error
    except json.JSONDecodeError as error:
        raise InvalidBody(f"{error.msg} at line {error.lineno} column {error.colno}") from error
    _check(parsed, 0)
    return parsed


def _check(value: object, depth: int) -> None:
    if depth > DEEPEST:
        raise InvalidBody("the body is nested too deeply")
    if isinstance(value, dict):
        for name, item in value.items():
            _check_text(name)
            _check(item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check(item, depth + 1)
    elif isinstance(value, str):
        _check_text(value)


def _check_text(text: str) -> None:
    """Raises InvalidBody for text that Postgres cannot store: NUL and lone surrogates."""
    if "\x00" in text:
        raise InvalidBody("text must not contain NUL")
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidBody("text must not contain lone surrogates")


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result: dict[str, object] = {}
    for name, value in pairs:
        if name in result:
            raise InvalidBody(f"the key {name[:60]!r} is given twice")
        result[name] = value
    return result


def _decimal(text: str) -> Decimal:
    if len(text) > LONGEST_NUMBER:
        raise InvalidBody("a number is too long")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise InvalidBody(f"{text} is not a number we can hold") from error
    if not value.is_zero() and not -40 <= value.adjusted() <= 40:
        raise InvalidBody(f"{text} is not a number we can hold")
    return value


def _integer(text: str) -> int:
    if len(text) > LONGEST_NUMBER:
        raise InvalidBody("a number is too long")
    return int(text)


def _refuse_constant(text: str) -> object:
    raise InvalidBody(f"{text} is not JSON")


def as_stored(value: dict[str, object]) -> dict[str, object]:
    """Return the value as JSON without floats: numbers with a point become decimal strings."""
    stored: dict[str, object] = json.loads(json.dumps(value, default=_as_text))
    return stored


def _as_text(value: object) -> str:
    if isinstance(value, Decimal):
        return decimal_text(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
