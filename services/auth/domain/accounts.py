"""Rules of accounts, logins and refresh tokens."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

Language = Literal["en", "it"]

LONGEST_EMAIL = 254
MAX_LOGINS = 100  # per user; a newer login ends the oldest
RETRY_GRACE = timedelta(seconds=10)
MAX_SUCCESSORS = 20  # tokens issued for one refresh token, within RETRY_GRACE

_EMAIL = re.compile(
    r"[a-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"@(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII | re.IGNORECASE,
)


def check_email(text: str) -> str:
    """Return the address as written, without spaces around it. Raises ValueError if it is not valid."""
    email = text.strip(" ")
    local = email.partition("@")[0]
    has_misplaced_dot = local.startswith(".") or local.endswith(".") or ".." in local
    if len(email) > LONGEST_EMAIL or has_misplaced_dot or not _EMAIL.fullmatch(email):
        raise ValueError("must be an e-mail address")
    return email


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
    """The stored values that a login is checked against."""

    public_id: UUID
    email: str
    password_hash: str
    is_active: bool


@dataclass(frozen=True)
class Account:
    """The published fields of a user."""

    public_id: UUID
    email: str
    timezone: str
    language: str
    is_active: bool


@dataclass(frozen=True)
class Profile:
    """A user's own view of their account."""

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
    """A login as its user sees it."""

    session_id: UUID
    ip_address: str | None
    user_agent: str | None
    created_at: datetime
    last_used_at: datetime
    expires_at: datetime


@dataclass(frozen=True)
class Family:
    """A login and its refresh tokens.

    `generation` counts the used tokens; `rotated_token` is the last of them. A token from before uses were marked
    carries no mark of its own: these two fields show whether it was used.
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
    """An issued refresh token. It can be used once; its first use is stored with it."""

    sha256: bytes
    session_id: UUID
    generation: int
    marked: bool
    used_at: datetime | None
    successors: int


class Verdict(Enum):
    ROTATE = "first use: issue the next token"
    REPEAT = "another tab or a lost response, within the grace: issue one more token"
    TOO_OFTEN = "within the grace, but it has had all its successors"
    REUSE = "used before: end the family"
    REFUSE = "the family has already ended"


def judge_refresh(family: Family, token: RefreshToken, now: datetime) -> Verdict:
    """Decide what to do with a refresh token of this family.

    Several tabs of one browser may send the same token at once, and each continues with the token it received.
    Therefore each token is judged by its own first use, and repeats within RETRY_GRACE of it do not end the family.
    """
    if not family.is_active or not family.user_is_active or family.expires_at <= now:
        return Verdict.REFUSE
    used, used_at = (token.used_at is not None, token.used_at) if token.marked else _infer_use(family, token)
    if not used:
        return Verdict.ROTATE
    if used_at is None or now - used_at > RETRY_GRACE:
        return Verdict.REUSE
    return Verdict.REPEAT if token.successors < MAX_SUCCESSORS else Verdict.TOO_OFTEN


def _infer_use(family: Family, token: RefreshToken) -> tuple[bool, datetime | None]:
    """Return whether and when a token without a mark was used; the time is known only for the last used one."""
    if token.generation == family.generation:
        return False, None
    return True, family.rotated_at if token.sha256 == family.rotated_token else None


def login_expiry(created_at: datetime, now: datetime, idle: timedelta, longest: timedelta) -> datetime:
    """Return when a login expires: after `idle` without use, and in any case `longest` after it began."""
    return min(now + idle, created_at + longest)
