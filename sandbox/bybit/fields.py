"""Sets fields of a dataclass from a JSON object of the control API."""

from collections.abc import Collection, Mapping
from types import UnionType
from typing import get_args, get_origin, get_type_hints


def set_fields(target: object, given: Mapping[str, object], settable: Collection[str]) -> None:
    """Raises ValueError for a field that is not settable or a value of another type, and sets nothing then."""
    hints = get_type_hints(type(target))
    for name, value in given.items():
        if name not in settable:
            raise ValueError(f"{name} cannot be set: known are {', '.join(sorted(settable))}")
        wanted = _json_types(hints[name])
        if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
            names = " or ".join("null" if each is type(None) else each.__name__ for each in wanted)
            raise ValueError(f"{name} must be of type {names}")
    for name, value in given.items():
        setattr(target, name, value)


def _json_types(hint: object) -> tuple[type, ...]:
    parts = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    origins = [get_origin(part) or part for part in parts]
    return tuple(
        dict if each is Mapping else list if each not in (str, int, bool, type(None)) else each for each in origins
    )
