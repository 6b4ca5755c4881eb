"""The differences between two documents, by JSON path."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.contracts.json_text import child


@dataclass(frozen=True, slots=True)
class Difference:
    """A value that was added, removed or changed. `old` of an added value and `new` of a removed one are None."""

    path: str
    change: str  # "added", "removed" or "changed"
    old: object
    new: object


def differences(old: object, new: object, path: str = "$") -> Iterator[Difference]:
    """Yield the smallest parts that differ, with keys in sorted order. Lists are compared index by index."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _member(key in old, old.get(key), key in new, new.get(key), child(path, key))
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            yield from _member(
                index < len(old), _at(old, index), index < len(new), _at(new, index), child(path, index)
            )
    elif old != new:
        yield Difference(path, "changed", old, new)


def _member(in_old: bool, old: object, in_new: bool, new: object, path: str) -> Iterator[Difference]:
    if in_old and in_new:
        yield from differences(old, new, path)
    else:
        yield Difference(path, "added" if in_new else "removed", old, new)


def _at(values: Sequence[object], index: int) -> object:
    return values[index] if index < len(values) else None
