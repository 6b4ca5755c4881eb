"""Events that auth publishes."""

from datetime import timedelta
from typing import ClassVar, Literal
from uuid import UUID

from shared.contracts.envelope import Event
from shared.contracts.time_zones import ZoneName
from shared.contracts.types import Instant

EndReason = Literal["LOGGED_OUT", "REVOKED", "TOKEN_REUSED", "TOO_MANY", "PASSWORD_CHANGED", "DEACTIVATED"]


class UserRegistered(Event):
    topic: ClassVar[str] = "user.registered"
    source: ClassVar[str] = "auth"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = True

    email: str
    timezone: ZoneName
    language: str
    is_active: bool
    trial: bool = True  # whether the account starts with a trial: auth limits the number of trials per network


class UserUpdated(Event):
    """The user's data after a change. `aggregate_seq` continues the sequence of `user.registered`."""

    topic: ClassVar[str] = "user.updated"
    source: ClassVar[str] = "auth"
    on_poison: ClassVar[Literal["halt", "skip"]] = "halt"
    retention: ClassVar[timedelta] = timedelta(days=7)
    compacted: ClassVar[bool] = True

    email: str
    timezone: ZoneName
    language: str
    is_active: bool


class LoginEnded(Event):
    """A login ended before its access tokens expired: every service refuses them from now on."""

    topic: ClassVar[str] = "login.ended"
    source: ClassVar[str] = "auth"
    on_poison: ClassVar[Literal["halt", "skip"]] = "skip"
    partitions: ClassVar[int] = 1  # every process that serves HTTP reads all of them

    login_id: UUID
    reason: EndReason
    at: Instant
