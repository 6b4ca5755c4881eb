"""The rules of accounts and log-ins."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from services.auth.domain.accounts import (
    RETRY_GRACE,
    Family,
    Verdict,
    check_email,
    check_password,
    check_timezone,
    email_sha256,
    judge_refresh,
    session_expiry,
)
from shared.chassis.origin import clean_user_agent
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
    retried=False,
    created_at=NOW - timedelta(days=1),
    expires_at=NOW + timedelta(days=29),
)


@pytest.mark.parametrize("email", ["a@b.org", "A.b+c@sub.example.org", " spaces@around.org ", "x'y@a-b.co"])
def test_an_ordinary_address_is_taken(email: str) -> None:
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
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(ValueError):
        check_email(email)


def test_an_address_is_found_without_regard_to_case() -> None:
    assert email_sha256("Ann@Example.org ") == email_sha256("ann@eXample.ORG")


@pytest.mark.parametrize("password", ["short", "1234567", "x" * 1025, "nul\x00in the middle"])
def test_a_password_that_cannot_be_kept_is_refused(password: str) -> None:
    with pytest.raises(ValueError):
        check_password(password)


def test_a_password_is_the_same_however_its_accents_were_typed() -> None:
    assert check_password("perche\u0301 no?") == check_password("perch\u00e9 no?")


@pytest.mark.parametrize("name", ["", "Mars/Base", "../../etc/passwd", "europe/rome", "Europe/Rome\x00"])
def test_a_time_zone_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(ValueError):
        check_timezone(name)


def test_a_user_agent_is_cut_and_cleaned() -> None:
    assert clean_user_agent("curl\x00\udcff" + "x" * 500) == "curl??" + "x" * 294
    assert clean_user_agent(None) is None


def test_the_running_generation_rotates() -> None:
    assert judge_refresh(FAMILY, OTHER, 3, NOW) is Verdict.ROTATE


def test_a_lost_answer_may_be_asked_for_once_more() -> None:
    assert judge_refresh(FAMILY, PARENT, 2, NOW) is Verdict.RETRY
    assert judge_refresh(replace(FAMILY, retried=True), PARENT, 2, NOW) is Verdict.REUSE


def test_after_the_grace_a_used_token_is_a_reuse() -> None:
    late = replace(FAMILY, rotated_at=NOW - RETRY_GRACE - timedelta(microseconds=1))
    assert judge_refresh(late, PARENT, 2, NOW) is Verdict.REUSE


def test_a_twin_of_the_token_that_was_used_is_a_reuse() -> None:
    assert judge_refresh(FAMILY, OTHER, 2, NOW) is Verdict.REUSE


def test_an_older_token_is_a_reuse() -> None:
    assert judge_refresh(FAMILY, OTHER, 0, NOW) is Verdict.REUSE


@pytest.mark.parametrize(
    "ended",
    [
        replace(FAMILY, is_active=False),
        replace(FAMILY, user_is_active=False),
        replace(FAMILY, expires_at=NOW),
    ],
    ids=["logged out", "disabled", "expired"],
)
def test_nothing_is_given_for_a_log_in_that_has_ended(ended: Family) -> None:
    assert judge_refresh(ended, OTHER, 3, NOW) is Verdict.REFUSE


def test_a_log_in_ends_when_idle_and_in_any_case_at_its_limit() -> None:
    idle, longest = timedelta(days=30), timedelta(days=90)
    assert session_expiry(NOW, NOW + timedelta(days=10), idle, longest) == NOW + timedelta(days=40)
    assert session_expiry(NOW, NOW + timedelta(days=80), idle, longest) == NOW + longest
