"""Refuses versions that are far ahead: applying one would make all genuine later versions look outdated."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.chassis.errors import ImplausibleError
from shared.chassis.postgres import Connection

MAX_STEP = 1_000
MAX_FIRST_VERSION = 1_000_000  # a sequence may be old when its first event is received


class Replayable(Protocol):
    @property
    def is_replayed(self) -> bool: ...


class OfUser(Replayable, Protocol):
    @property
    def user_id(self) -> int: ...


@dataclass(frozen=True)
class Versioned:
    """A versioned state: the event's field with the version, and the table and column that store the last one."""

    field: str
    table: str
    column: str

    async def check_version_steps(self, connection: Connection, events: Sequence[OfUser]) -> None:
        """Raises ImplausibleError if a version is not a plausible step for its user."""
        rows = await connection.fetch(
            f"SELECT user_id, {self.column} AS version FROM {self.table} WHERE user_id = ANY ($1::bigint[])",
            list({event.user_id for event in events}),
        )
        known = {row["user_id"]: row["version"] for row in rows}
        check_version_steps(known, [(event, getattr(event, self.field)) for event in events])


def check_version_steps(known: Mapping[int, int], versions: Sequence[tuple[OfUser, int]]) -> None:
    reached = dict(known)
    for event, version in sorted(versions, key=lambda each: each[1]):
        before = reached.get(event.user_id, 0)
        check_version_step(event, version, before)
        reached[event.user_id] = max(version, before)


def check_version_step(event: Replayable, version: int, known: int | None) -> None:
    """Raises ImplausibleError, unless an operator replayed the event. `known` is None before the first version."""
    limit = MAX_FIRST_VERSION if known is None else known + MAX_STEP
    if version > limit and not event.is_replayed:
        raise ImplausibleError(f"version {version} is not plausible: the highest plausible one is {limit}")
