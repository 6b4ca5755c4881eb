"""What auth says."""

from datetime import timedelta
from typing import ClassVar, Literal

from shared.contracts.envelope import Event
from shared.contracts.types import Zone


class UserRegistered(Event):
    topic: ClassVar[str] = "user.registered"
    source: ClassVar[str] = "auth"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = True

    email: str
    timezone: Zone
    language: str
    is_active: bool


class UserUpdated(Event):
    """The same, after a change: `aggregate_seq` is of one sequence with that of `user.registered`."""

    topic: ClassVar[str] = "user.updated"
    source: ClassVar[str] = "auth"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = True

    email: str
    timezone: Zone
    language: str
    is_active: bool
