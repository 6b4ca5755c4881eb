"""Which passwords are accepted, and which are refused as too common."""

import pytest

from services.auth.domain.passwords import COMMON_PASSWORDS, check_new_password, check_password
from services.auth.routes.logins import RegisterBody
from services.auth.routes.me import PasswordBody


@pytest.mark.parametrize("password", ["short", "1234567", "x" * 1025, "nul\x00in the middle"])
def test_an_invalid_password_is_refused(password: str) -> None:
    with pytest.raises(ValueError):
        check_password(password)


def test_a_password_is_the_same_however_its_accents_were_typed() -> None:
    assert check_password("perche\u0301 no?") == check_password("perch\u00e9 no?")


COMMON = ["password", "12345678", "PassWord1", "iloveyou", "QWERTYUIOP", "sunshine", "trustno1", "baseball1"]
DISGUISED = [
    "ｐａｓｓｗｏｒｄ",
    "password ",
    "  password",
    "pass\u200bword",
    "PASSWORD\u00a0\u00a0",
    "pa\u00adssword",
    "password\u3164",
    "p\ufe0fassword",
    "password\u2800\u034f",
]
BLANKS = [" " * 8, "\u00a0" * 10, "\t\n" * 5, "\u200b" * 8, "\u3000 \ufeff" * 4, "\u2060" * 9]
BLANKS += ["\u3164" * 8, "\u2800" * 8, "\ufe0f" * 8, "\u0301" * 8]


@pytest.mark.parametrize("password", [*COMMON, *DISGUISED])
def test_a_common_password_is_refused_in_every_spelling(password: str) -> None:
    with pytest.raises(ValueError, match="most common"):
        check_new_password(password)


@pytest.mark.parametrize("password", BLANKS)
def test_a_password_of_blanks_is_refused(password: str) -> None:
    with pytest.raises(ValueError, match="blanks only"):
        check_new_password(password)


def test_the_list_has_common_passwords_of_at_least_eight_characters() -> None:
    assert len(COMMON_PASSWORDS) > 10_000
    assert min(map(len, COMMON_PASSWORDS)) == 8


@pytest.mark.parametrize("password", ["correct horse battery", "no two tides alike", "perché no? 7"])
def test_an_ordinary_password_is_accepted_unchanged(password: str) -> None:
    assert check_new_password(password) == password


def test_an_old_common_password_can_still_log_in() -> None:
    assert check_password("password") == "password"


def test_a_common_password_is_refused_by_every_endpoint_that_sets_one() -> None:
    with pytest.raises(ValueError, match="most common"):
        RegisterBody.model_validate({"email": "a@b.org", "password": "Password1"})
    with pytest.raises(ValueError, match="most common"):
        PasswordBody.model_validate({"old_password": "x", "new_password": "Password1"})
