"""What did not hold."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

MOST_OF_A_KIND = 20


@dataclass(frozen=True, order=True)
class Violation:
    """`detail` names what it is about: ids, topic, offset, call."""

    invariant: str
    detail: str


def few(invariant: str, details: Iterable[str]) -> Iterator[Violation]:
    """The first of one kind in order, and how many more there are: a broken run must stay readable."""
    ordered = sorted(set(details))
    for detail in ordered[:MOST_OF_A_KIND]:
        yield Violation(invariant, detail)
    if len(ordered) > MOST_OF_A_KIND:
        more = len(ordered) - MOST_OF_A_KIND
        yield Violation(invariant, f"{ordered[MOST_OF_A_KIND]} (and {more - 1} more of this kind)")
