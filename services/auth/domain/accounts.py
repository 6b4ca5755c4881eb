"""The rules of accounts and log-ins."""

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

Language = Literal["en", "it"]

LONGEST_EMAIL = 254
MOST_SESSIONS = 100  # log-ins of one user at a time; the oldest is ended for a newer one
RETRY_GRACE = timedelta(seconds=10)
MOST_SUCCESSORS = 20  # of one refresh token, within the grace

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
class Account:
    """What is published of a user."""

    public_id: UUID
    email: str
    timezone: str
    language: str
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
class Login:
    """A log-in as its user sees it."""

    session_id: UUID
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Family:
    """A login and the refresh tokens that follow from it.

    `generation` counts the tokens that were used, `rotated_token` is the last of them: only these two tell whether
    a token from before tokens were marked has been used.
    """

    session_id: UUID
    is_active: bool
    user_is_active: bool
    public_id: UUID
    generation: int
    rotated_token: bytes | None
    rotated_at: datetime | None
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class RefreshToken:
    """One that was given out. It is good once; its first use is marked on it."""

    sha256: bytes
    session_id: UUID
    generation: int
    marked: bool
    used_at: datetime | None
    successors: int


class Verdict(Enum):
    ROTATE = "its first use"
    REPEAT = "another tab, or a lost answer: one more token beside those given for it"
    TOO_OFTEN = "within the grace too, but it has had its successors"
    REUSE = "it was used before: the family ends"
    REFUSE = "the family has ended already"


def judge_refresh(family: Family, token: RefreshToken, now: datetime) -> Verdict:
    """What a refresh token of this family is good for.

    Several tabs of one browser show the same token at the same moment and each goes on with the answer it got, so
    each token is judged by its own first use. Nothing that is shown within RETRY_GRACE of that ends the family.
    """
    if not family.is_active or not family.user_is_active or family.expires_at <= now:
        return Verdict.REFUSE
    used, used_at = (token.used_at is not None, token.used_at) if token.marked else _use_before_marks(family, token)
    if not used:
        return Verdict.ROTATE
    if used_at is None or now - used_at > RETRY_GRACE:
        return Verdict.REUSE
    return Verdict.REPEAT if token.successors < MOST_SUCCESSORS else Verdict.TOO_OFTEN


def _use_before_marks(family: Family, token: RefreshToken) -> tuple[bool, datetime | None]:
    """Whether and when a token that carries no mark was used; the moment is known for the last one only."""
    if token.generation == family.generation:
        return False, None
    return True, family.rotated_at if token.sha256 == family.rotated_token else None


def session_expiry(created_at: datetime, now: datetime, idle: timedelta, longest: timedelta) -> datetime:
    """A log-in ends when it is not used for `idle`, and in any case `longest` after it began."""
    return min(now + idle, created_at + longest)
