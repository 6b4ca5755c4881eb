"""A refresh token works once; a retry within the grace period is accepted; later reuse ends the login."""

import asyncio
from datetime import datetime, timedelta

import pytest

from services.auth.domain.accounts import MAX_SUCCESSORS, RETRY_GRACE, NewUser
from services.auth.errors import AlreadyRefreshed, BadRefreshToken
from services.auth.operations.authentication import AuthContext
from services.auth.operations.logins import log_in
from services.auth.operations.refresh import refresh as refresh_from
from services.auth.operations.registration import register
from services.auth.operations.tokens import IssuedTokens
from shared.chassis.clock import utc_now
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database
from shared.testing.api_client import PASSWORD

NOWHERE = Client(None, None)
LATER = RETRY_GRACE + timedelta(seconds=1)


async def refresh(desk: AuthContext, token: str, now: datetime) -> IssuedTokens:
    return await refresh_from(desk, token, NOWHERE, now)


async def _register(desk: AuthContext, now: datetime) -> str:
    user = NewUser("ann@example.org", PASSWORD, "UTC", "en", None, None, None)
    registered = await register(desk, user, NOWHERE, now)
    return registered.tokens.refresh_token


async def _refused(desk: AuthContext, token: str, now: datetime) -> bool:
    try:
        await refresh(desk, token, now)
    except BadRefreshToken:
        return True
    return False


async def test_refreshes_can_be_chained(desk: AuthContext) -> None:
    now = utc_now()
    token = await _register(desk, now)
    for days in range(1, 5):
        token = (await refresh(desk, token, now + timedelta(days=days))).refresh_token


async def test_a_used_token_ends_the_family(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    second = (await refresh(desk, first, now)).refresh_token
    assert await _refused(desk, first, now + LATER)
    assert await _refused(desk, second, now + LATER)


async def test_a_reuse_leaves_other_logins_alone(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    other = await log_in(desk, "ann@example.org", PASSWORD, NOWHERE, now)
    await refresh(desk, first, now)
    assert await _refused(desk, first, now + LATER)
    await refresh(desk, other.refresh_token, now + LATER)


async def test_a_retry_after_a_lost_answer_continues_the_login(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    lost = await refresh(desk, first, now)
    again = await refresh(desk, first, now + timedelta(seconds=3))
    assert again.refresh_token != lost.refresh_token
    await refresh(desk, again.refresh_token, now + LATER)


@pytest.mark.parametrize("tabs", [2, 3, 4, 8])
async def test_tabs_that_refresh_concurrently_all_stay_logged_in(desk: AuthContext, tabs: int) -> None:
    now = utc_now()
    first = await _register(desk, now)
    answers = await asyncio.gather(*(refresh(desk, first, now + timedelta(seconds=n % 3)) for n in range(tabs)))
    tokens = [answer.refresh_token for answer in answers]
    assert len(set(tokens)) == tabs
    for number in range(1, 4):
        at = now + timedelta(minutes=10 * number)
        tokens = [(await refresh(desk, token, at)).refresh_token for token in reversed(tokens)]


async def test_tabs_may_refresh_again_in_any_order(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    tabs = [(await refresh(desk, first, now)).refresh_token for _ in range(4)]
    later = now + timedelta(days=5)
    middle = (await refresh(desk, tabs[1], now + LATER)).refresh_token
    for token in (tabs[3], middle, tabs[0], tabs[2]):
        await refresh(desk, token, later)


async def test_a_late_reuse_ends_every_tab(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    one, two = [(await refresh(desk, first, now)).refresh_token for _ in range(2)]
    await refresh(desk, one, now + LATER)
    assert await _refused(desk, one, now + 2 * LATER)
    assert await _refused(desk, two, now + 2 * LATER)


async def test_the_grace_period_starts_with_the_first_use_and_is_not_extended(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    await refresh(desk, first, now)
    await refresh(desk, first, now + RETRY_GRACE)
    assert await _refused(desk, first, now + LATER)


async def test_too_many_retries_within_the_grace_are_refused_without_logging_out(desk: AuthContext) -> None:
    now = utc_now()
    first = await _register(desk, now)
    answers = [(await refresh(desk, first, now)).refresh_token for _ in range(MAX_SUCCESSORS)]
    with pytest.raises(AlreadyRefreshed):
        await refresh(desk, first, now)
    for token in answers:
        await refresh(desk, token, now + LATER)


async def test_an_unused_login_expires(desk: AuthContext) -> None:
    now = utc_now()
    token = await _register(desk, now)
    assert await _refused(desk, token, now + desk.refresh_ttl)


@pytest.mark.parametrize("token", ["x", "", "é" * 40, "A" * 43])
async def test_an_unknown_token_is_refused(desk: AuthContext, token: str) -> None:
    assert await _refused(desk, token, utc_now())


async def test_tokens_are_stored_as_hashes_only(desk: AuthContext, database: Database) -> None:
    token = await _register(desk, utc_now())
    async with database.tenant(1) as connection:
        rows = await connection.fetch("SELECT * FROM user_sessions s JOIN refresh_tokens t USING (user_id)")
    assert len(rows) == 1
    assert token not in str(rows)


async def test_expired_logins_are_deleted_with_tokens_and_locators(desk: AuthContext, database: Database) -> None:
    now = utc_now()
    token = await _register(desk, now)
    much_later = now + desk.refresh_ttl + desk.longest_login + timedelta(days=1)
    await log_in(desk, "ann@example.org", PASSWORD, NOWHERE, much_later)
    async with database.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM refresh_tokens") == 1
    async with database.untenanted() as connection:
        located = await connection.fetchval("SELECT locate_refresh_token(sha256($1::text::bytea))", token)
    assert located is None
