"""Tabs that refresh at the same time keep their login; `refresh-in-two-tabs` has the order of their requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from services.auth.domain.accounts import NewUser
from services.auth.errors import BadRefreshToken
from services.auth.operations.authentication import AuthContext
from services.auth.operations.passwords import Passwords
from services.auth.operations.refresh import refresh
from services.auth.operations.registration import register
from services.auth.operations.signing_keys import SigningKeys
from services.auth.operations.tokens import AccessTokens, IssuedTokens
from shared.chassis.clock import utc_now
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database
from shared.testing.api_client import PASSWORD
from tests.integration.accounts import auth_settings

pytestmark = pytest.mark.beside_checkout
BROWSER = Client("192.0.2.7", "a browser")


@pytest.fixture
async def auth_context(service_env: Callable[[str], dict[str, str]], tmp_path: Path) -> AsyncIterator[AuthContext]:
    settings = auth_settings(service_env("auth"), tmp_path)
    database = await Database.connect(settings)
    passwords = Passwords(8, settings.auth_password_memory_kib)
    tokens = AccessTokens(SigningKeys(settings.auth_signing_key_file), issuer="us", audience="api", ttl_s=600)
    yield AuthContext(database, passwords, tokens, settings.refresh_token_ttl, settings.longest_login)
    await passwords.close()
    await database.close()


async def _log_in(auth_context: AuthContext, now: datetime) -> str:
    user = NewUser("ann@example.org", PASSWORD, "UTC", "en", None, None, None)
    return (await register(auth_context, user, BROWSER, now)).tokens.refresh_token


async def test_the_sequences_of_the_case(auth_context: AuthContext, shared_folder: Path) -> None:
    sequences = json.loads((shared_folder / "cases/refresh-in-two-tabs/sequence.json").read_text())
    now = utc_now()
    token = await _log_in(auth_context, now)
    parallel, one_after_another = sequences
    answers = await asyncio.gather(*(refresh(auth_context, token, BROWSER, now) for _ in range(parallel["times"])))
    token = (await _refresh_all(auth_context, answers, now + timedelta(minutes=10)))[0]

    now += timedelta(minutes=20)
    answers = [await refresh(auth_context, token, BROWSER, now) for _ in range(one_after_another["times"])]
    later = await refresh(auth_context, answers[0].refresh_token, BROWSER, now + timedelta(minutes=10))
    await _refresh_all(auth_context, [answers[1], later], now + timedelta(minutes=11))


async def test_a_late_use_still_ends_the_login(auth_context: AuthContext) -> None:
    now = utc_now()
    token = await _log_in(auth_context, now)
    answers = [await refresh(auth_context, token, BROWSER, now) for _ in range(3)]
    with pytest.raises(BadRefreshToken):
        await refresh(auth_context, token, BROWSER, now + timedelta(seconds=11))
    for answer in answers:
        with pytest.raises(BadRefreshToken):
            await refresh(auth_context, answer.refresh_token, BROWSER, now + timedelta(seconds=12))


async def _refresh_all(auth_context: AuthContext, answers: list[IssuedTokens], now: datetime) -> list[str]:
    return [(await refresh(auth_context, answer.refresh_token, BROWSER, now)).refresh_token for answer in answers]
