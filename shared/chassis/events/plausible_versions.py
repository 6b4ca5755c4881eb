"""Versions rise by small steps: one that is far ahead would shut out everything true that follows it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.chassis.errors import ImplausibleError
from shared.chassis.postgres import Connection

MOST_AHEAD = 1_000
MOST_AT_FIRST = 1_000_000  # of a sequence that may be old when it is met for the first time


class Replayable(Protocol):
    @property
    def is_replayed(self) -> bool: ...


class OfUser(Replayable, Protocol):
    @property
    def user_id(self) -> int: ...


@dataclass(frozen=True)
class Versioned:
    """A state that comes whole: the event's field with its version, and where the service keeps the last one."""

    field: str
    table: str
    column: str

    async def refuse_leaps(self, connection: Connection, events: Sequence[OfUser]) -> None:
        """Raises ImplausibleError where one is no plausible step of its user's."""
        rows = await connection.fetch(
            f"SELECT user_id, {self.column} AS version FROM {self.table} WHERE user_id = ANY ($1::bigint[])",
            list({event.user_id for event in events}),
        )
        known = {row["user_id"]: row["version"] for row in rows}
        refuse_leaps(known, [(event, getattr(event, self.field)) for event in events])


def refuse_leaps(known: Mapping[int, int], versions: Sequence[tuple[OfUser, int]]) -> None:
    reached = dict(known)
    for event, version in sorted(versions, key=lambda each: each[1]):
        before = reached.get(event.user_id, 0)
        refuse_leap(event, version, before)
        reached[event.user_id] = max(version, before)


def refuse_leap(event: Replayable, version: int, known: int | None) -> None:
    """Raises ImplausibleError, unless a person had the event worked again. None: nothing of it is known yet."""
    most = MOST_AT_FIRST if known is None else known + MOST_AHEAD
    if version > most and not event.is_replayed:
        raise ImplausibleError(f"version {version} is not plausible: at most {most} is")
