"""Registrations per network and hour are limited, trials per day too; an account without a trial gets a notice."""

from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from services.auth.app import build
from services.auth.settings import AuthSettings
from shared.chassis.service import RunningService
from shared.testing.api_client import PASSWORD, Answer, ApiClient, open_client

LIMITS = {
    "auth_registrations_an_hour": 3,
    "auth_registrations_a_day": 4,
    "auth_trials_a_day": 1,
    "trusted_proxies": (ip_network("127.0.0.0/8"),),  # the address of the tests' own client
}


@pytest.fixture
async def auth(settings: AuthSettings) -> AsyncIterator[ApiClient]:
    limited = settings.model_copy(update=LIMITS)
    async with RunningService(build, limited, roles={"http"}) as running, open_client(running.url) as client:
        yield client


async def _register(auth: ApiClient, name: str, address: str, password: str = PASSWORD) -> Answer:
    body: dict[str, object] = {"email": f"{name}@example.org", "password": password}
    return await auth.call("POST", "/v1/auth/register", body, X_Forwarded_For=address)


async def test_a_network_is_limited_and_another_is_not(auth: ApiClient) -> None:
    answers = [await _register(auth, f"a{n}", f"192.0.2.{n}") for n in range(5)]
    assert [answer.status for answer in answers] == [201, 201, 201, 429, 429]
    assert answers[3].body["type"] == "/problems/too-many-registrations"
    assert 3_590 <= int(answers[3].headers["Retry-After"]) <= 3_600
    assert (await _register(auth, "b", "198.51.100.1")).status == 201
    assert [(await _register(auth, f"c{n}", f"2001:db8:7:{n}::1")).status for n in range(4)] == [201] * 3 + [429]
    assert (await _register(auth, "d", "2001:db8:8::1")).status == 201


async def test_beyond_the_daily_trials_an_account_gets_no_trial_and_a_notice(auth: ApiClient) -> None:
    first, second = [await _register(auth, name, "192.0.2.1") for name in ("a", "b")]
    assert (first.body["trial"], first.body["notice"]) == (True, None)
    assert second.body["trial"] is False
    assert "without a trial" in str(second.body["notice"])


async def test_a_refusal_does_not_reveal_whether_an_email_exists(auth: ApiClient) -> None:
    for name in ("a", "b", "c"):
        await _register(auth, name, "192.0.2.1")
    known = await _register(auth, "a", "192.0.2.9", "a wrong password")
    unknown = await _register(auth, "x", "192.0.2.9")
    assert (known.status, known.body["type"]) == (unknown.status, unknown.body["type"])
    assert known.status == 429
    logged_in = await auth.call(
        "POST",
        "/v1/auth/login",
        {"email": "a@example.org", "password": PASSWORD},
        X_Forwarded_For="192.0.2.9",
    )
    assert logged_in.status == 200


async def test_a_failed_registration_is_not_counted(auth: ApiClient) -> None:
    for _ in range(6):
        assert (await _register(auth, "a", "192.0.2.1", "password")).status == 422
    assert (await _register(auth, "a", "192.0.2.1")).status == 201
    for _ in range(6):
        assert (await _register(auth, "a", "192.0.2.1", "a wrong password")).status == 401
    assert (await _register(auth, "b", "192.0.2.1")).status == 201
