"""The rules of accounts and logins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.accounts import (
    MAX_SUCCESSORS,
    RETRY_GRACE,
    Family,
    RefreshToken,
    Verdict,
    check_email,
    judge_refresh,
    login_expiry,
)
from shared.chassis.http.client_address import clean_user_agent
from shared.contracts.emails import email_sha256
from shared.contracts.types import new_id

NOW = datetime(2026, 1, 31, 9, 30, tzinfo=UTC)
PARENT, OTHER = b"p" * 32, b"o" * 32
FAMILY = Family(
    session_id=new_id(),
    is_active=True,
    user_is_active=True,
    public_id=new_id(),
    generation=3,
    rotated_token=PARENT,
    rotated_at=NOW - timedelta(seconds=5),
    created_at=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=29),
)


@pytest.mark.parametrize("email", ["a@b.org", "A.b+c@sub.example.org", " spaces@around.org ", "x'y@a-b.co"])
def test_a_valid_address_is_accepted(email: str) -> None:
    assert check_email(email) == email.strip()


@pytest.mark.parametrize(
    "email",
    [
        "",
        "a",
        "a@b",
        "@b.org",
        "a@",
        "a b@c.org",
        "a@b..org",
        "a@-b.org",
        ".a@b.org",
        "a..b@c.org",
        "a@b.org\n.it",
        "a\x00@b.org",
        "ü@b.org",
        "a@b.org,c@d.org",
        "a" * 65 + "@b.org",
        "a@" + "b." * 130 + "org",
    ],
)
def test_an_invalid_address_is_refused(email: str) -> None:
    with pytest.raises(ValueError):
        check_email(email)


def test_the_hash_of_an_address_ignores_case() -> None:
    assert email_sha256("Ann@Example.org ") == email_sha256("ann@eXample.ORG")


def test_a_user_agent_is_truncated_and_cleaned() -> None:
    assert clean_user_agent("curl\x00\udcff" + "x" * 500) == "curl??" + "x" * 294
    assert clean_user_agent(None) is None


TOKEN = RefreshToken(OTHER, FAMILY.session_id, generation=3, marked=True, used_at=None, successors=0)
USED = replace(TOKEN, used_at=NOW - timedelta(seconds=5), successors=1)
BEFORE_MARKS = replace(TOKEN, marked=False)


@pytest.mark.parametrize("generation", [0, 2, 3])
def test_a_token_is_valid_once_in_any_generation(generation: int) -> None:
    assert judge_refresh(FAMILY, replace(TOKEN, generation=generation), NOW) is Verdict.ROTATE


@pytest.mark.parametrize("successors", [1, 2, MAX_SUCCESSORS - 1])
def test_a_token_can_be_repeated_within_the_grace_period(successors: int) -> None:
    at_the_end = NOW - timedelta(seconds=5) + RETRY_GRACE
    assert judge_refresh(FAMILY, replace(USED, successors=successors), at_the_end) is Verdict.REPEAT


def test_a_clock_that_went_back_is_within_the_grace_period() -> None:
    assert judge_refresh(FAMILY, USED, NOW - timedelta(minutes=1)) is Verdict.REPEAT


def test_repetitions_within_the_grace_period_never_end_the_family() -> None:
    assert judge_refresh(FAMILY, replace(USED, successors=MAX_SUCCESSORS), NOW) is Verdict.TOO_OFTEN


@pytest.mark.parametrize("generation", [0, 2, 3])
def test_after_the_grace_period_a_used_token_is_a_reuse(generation: int) -> None:
    late = NOW - RETRY_GRACE - timedelta(microseconds=1)
    assert judge_refresh(FAMILY, replace(USED, generation=generation, used_at=late), NOW) is Verdict.REUSE


def test_a_token_from_before_marks_is_judged_by_its_generation() -> None:
    assert judge_refresh(FAMILY, BEFORE_MARKS, NOW) is Verdict.ROTATE
    assert judge_refresh(FAMILY, replace(BEFORE_MARKS, generation=2), NOW) is Verdict.REUSE
    assert judge_refresh(FAMILY, replace(BEFORE_MARKS, generation=2, sha256=PARENT), NOW) is Verdict.REPEAT
    later = NOW + RETRY_GRACE
    assert judge_refresh(FAMILY, replace(BEFORE_MARKS, generation=2, sha256=PARENT), later) is Verdict.REUSE


@pytest.mark.parametrize(
    "ended",
    [
        replace(FAMILY, is_active=False),
        replace(FAMILY, user_is_active=False),
        replace(FAMILY, expires_at=NOW),
    ],
    ids=["logged out", "disabled", "expired"],
)
def test_a_login_that_has_ended_is_refused(ended: Family) -> None:
    assert judge_refresh(ended, TOKEN, NOW) is Verdict.REFUSE


def test_a_login_ends_when_idle_and_at_the_latest_at_its_limit() -> None:
    idle, longest = timedelta(days=30), timedelta(days=90)
    assert login_expiry(NOW, NOW + timedelta(days=10), idle, longest) == NOW + timedelta(days=40)
    assert login_expiry(NOW, NOW + timedelta(days=80), idle, longest) == NOW + longest
