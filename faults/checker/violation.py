"""A violated invariant."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MAX_DETAILS = 20


@dataclass(frozen=True, order=True)
class Violation:
    """`detail` identifies the object: ids, topic, offset, call."""

    invariant: str
    detail: str


def limit_details(invariant: str, details: Iterable[str]) -> Iterator[Violation]:
    """Yield the first details in order and the count of the rest, so that a long report stays readable."""
    ordered = sorted(set(details))
    for detail in ordered[:MAX_DETAILS]:
        yield Violation(invariant, detail)
    if len(ordered) > MAX_DETAILS:
        more = len(ordered) - MAX_DETAILS
        yield Violation(invariant, f"{ordered[MAX_DETAILS]} (and {more - 1} more of this kind)")
