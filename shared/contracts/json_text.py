"""Reads JSON exactly: numbers with a point become Decimal, and what is ambiguous or cannot be stored is refused."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from itertools import islice

DEEPEST = 100
LONGEST_NUMBER = 60
LARGEST_EXPONENT = 40
MAX_FAULTS = 100

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")
_NOT_FINITE = Decimal("NaN")

# A path of keys and indexes, innermost first; most paths are never printed.
_Keys = tuple["_Keys", object] | None


@dataclass(frozen=True, slots=True)
class DocumentFault:
    """One fault of a document, with its JSON path (`$.strategy_config.side`)."""

    path: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InvalidDocument(ValueError):
    """The document is refused; `faults` has the reasons, in document order."""

    def __init__(self, *faults: DocumentFault) -> None:
        super().__init__("; ".join(map(str, faults)))
        self.faults = faults


def read_json(raw: bytes | str) -> object:
    """Parse JSON in UTF-8, with or without a byte order mark. Raises InvalidDocument."""
    repeated: dict[int, tuple[object, str]] = {}  # by the id of the object, which is kept alive here

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        result = dict(pairs)
        if len(result) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated[id(result)] = result, next(key for index, key in enumerate(keys) if key in keys[:index])
        return result

    try:
        parsed: object = json.loads(
            raw if isinstance(raw, str) else raw.decode("utf-8-sig"),
            parse_float=_number,
            parse_int=_integer,
            parse_constant=_number,
            object_pairs_hook=members,
        )
    except RecursionError as error:
        raise InvalidDocument(DocumentFault("$", "is nested too deep")) from error
    except UnicodeDecodeError as error:
        raise InvalidDocument(DocumentFault("$", "is not UTF-8 text")) from error
    except json.JSONDecodeError as error:
        reason = f"is not JSON: {error.msg} at line {error.lineno} column {error.colno}"
        raise InvalidDocument(DocumentFault("$", reason)) from error
    faults = _faults(parsed, {key: name for key, (_, name) in repeated.items()})
    if found := list(islice(faults, MAX_FAULTS)):
        raise InvalidDocument(*found)
    return parsed


def is_storable(text: str) -> bool:
    """Return whether Postgres can store it: no NUL and no lone surrogate."""
    return _NOT_STORABLE.search(text) is None


def child(path: str, key: object) -> str:
    """Return the path of a member. Keys that are not plain names are quoted in ASCII."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    text = str(key)
    if _PLAIN_KEY.fullmatch(text):
        return f"{path}.{text}"
    return f"{path}[{json.dumps(text[:64])}]"


def _number(text: str) -> Decimal:
    """Return NaN for what cannot be kept exactly; `_faults` reports it with its path."""
    if len(text) > LONGEST_NUMBER:
        return _NOT_FINITE
    try:
        value = Decimal(text)
    except DecimalException:
        return _NOT_FINITE
    return value if value.is_zero() or abs(value.adjusted()) <= LARGEST_EXPONENT else _NOT_FINITE


def _integer(text: str) -> int | Decimal:
    return int(text) if len(text) <= LONGEST_NUMBER else _NOT_FINITE


def _faults(parsed: object, repeated: Mapping[int, str]) -> Iterator[DocumentFault]:
    """Yield the faults in document order, without recursion."""
    stack: list[tuple[_Keys, int, object]] = [(None, 0, parsed)]
    while stack:
        keys, depth, value = stack.pop()
        if isinstance(value, str):
            if not is_storable(value):
                yield DocumentFault(_path(keys), "must be text without NUL characters and lone surrogates")
        elif isinstance(value, Decimal):
            if not value.is_finite():
                yield DocumentFault(_path(keys), "is not a finite number that can be kept exactly")
        elif isinstance(value, dict | list):
            if depth == DEEPEST:
                yield DocumentFault("$", "is nested too deep")
                return
            if id(value) in repeated:
                yield DocumentFault(child(_path(keys), repeated[id(value)]), "is a repeated key")
            items = list(value.items() if isinstance(value, dict) else enumerate(value))
            if isinstance(value, dict) and not all(map(is_storable, value)):
                yield DocumentFault(_path(keys), "must have keys without NUL characters and lone surrogates")
            stack.extend(((keys, key), depth + 1, each) for key, each in reversed(items))


def _path(keys: _Keys) -> str:
    names = []
    while keys is not None:
        keys, name = keys
        names.append(name)
    path = "$"
    for name in reversed(names):
        path = child(path, name)
    return path
