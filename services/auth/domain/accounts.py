"""The rules of accounts and log-ins."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID
from zoneinfo import available_timezones

Language = Literal["en", "it"]
EndReason = Literal["LOGGED_OUT", "REVOKED", "TOKEN_REUSED", "TOO_MANY", "PASSWORD_CHANGED"]

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 1024
LONGEST_EMAIL = 254
MOST_SESSIONS = 100  # log-ins of one user at a time; the oldest is ended for a newer one
RETRY_GRACE = timedelta(seconds=10)

TIME_ZONES = frozenset(available_timezones())

_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII | re.IGNORECASE,
)


def check_email(text: str) -> str:
    """An address as it was written. Raises ValueError."""
    email = text.strip(" ")
    local = email.partition("@")[0]
    dots_are_wrong = local.startswith(".") or local.endswith(".") or ".." in local
    if len(email) > LONGEST_EMAIL or dots_are_wrong or not _EMAIL.fullmatch(email):
        raise ValueError("must be an e-mail address")
    return email


def email_sha256(email: str) -> bytes:
    """What an address is found by: upper and lower case are the same person."""
    return hashlib.sha256(email.strip(" ").lower().encode()).digest()


def check_password(text: str) -> str:
    """A password in the form in which it is hashed (NFC). Raises ValueError."""
    if "\x00" in text:
        raise ValueError("must not contain NUL")
    password = unicodedata.normalize("NFC", text)
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise ValueError(f"must have {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters")
    return password


def check_timezone(name: str) -> str:
    """Raises ValueError."""
    if name not in TIME_ZONES:
        raise ValueError("must be a time zone of the IANA database, such as Europe/Rome")
    return name


@dataclass(frozen=True)
class NewUser:
    email: str
    password: str
    timezone: str
    language: Language
    username: str | None
    first_name: str | None
    last_name: str | None


@dataclass(frozen=True)
class Credentials:
    """What a log-in is checked against."""

    public_id: UUID
    email: str
    password_hash: str
    is_active: bool


@dataclass(frozen=True)
class Profile:
    """A user as he sees himself."""

    public_id: UUID
    email: str
    username: str | None
    first_name: str | None
    last_name: str | None
    timezone: str
    language: Language
    is_active: bool
    email_verified: bool
    subscription_tier: str
    subscription_start_date: datetime | None
    subscription_end_date: datetime | None
    trial_end_date: datetime | None
    last_login: datetime | None
    login_count: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class Session:
    """A log-in as its user sees it."""

    session_id: UUID
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Family:
    """A log-in and the refresh tokens that follow from it.

    Its tokens are numbered by generation. The first token of the running generation to be used begins the
    next one. `rotated_token` is the one that began the running generation; as its answer may have been
    lost, it may be shown once more within RETRY_GRACE, and then gives a second token of the same
    generation. Of the two only the first to be used counts; the other one is a reuse.
    """

    session_id: UUID
    is_active: bool
    user_is_active: bool
    public_id: UUID
    generation: int
    rotated_token: bytes | None
    rotated_at: datetime | None
    retried: bool
    created_at: datetime
    expires_at: datetime


class Verdict(Enum):
    ROTATE = "the next generation begins"
    RETRY = "a second token of the running generation"
    REUSE = "somebody has used this token before: the family ends"
    REFUSE = "the family has ended already"


def judge_refresh(family: Family, token_sha256: bytes, generation: int, now: datetime) -> Verdict:
    """What a refresh token of this family, given out with `generation`, is good for."""
    if not family.is_active or not family.user_is_active or family.expires_at <= now:
        return Verdict.REFUSE
    if generation == family.generation:
        return Verdict.ROTATE
    in_grace = family.rotated_at is not None and now - family.rotated_at <= RETRY_GRACE
    if token_sha256 == family.rotated_token and in_grace and not family.retried:
        return Verdict.RETRY
    return Verdict.REUSE


def session_expiry(created_at: datetime, now: datetime, idle: timedelta, longest: timedelta) -> datetime:
    """A log-in ends when it is not used for `idle`, and in any case `longest` after it began."""
    return min(now + idle, created_at + longest)
