"""A refresh token is good once; a lost answer may be asked for once more; a reuse ends the log-in."""

import asyncio
from datetime import datetime, timedelta

import pytest

from services.auth.domain.accounts import RETRY_GRACE, NewUser
from services.auth.errors import BadRefreshToken
from services.auth.operations.log_ins import log_in, register
from services.auth.operations.proving import Desk
from services.auth.operations.refresh import refresh as refresh_from
from services.auth.operations.tokens import IssuedTokens
from shared.chassis.clock import utc_now
from shared.chassis.origin import Client
from shared.chassis.postgres import Database
from tests.integration.accounts import PASSWORD

NOWHERE = Client(None, None)
LATER = RETRY_GRACE + timedelta(seconds=1)


async def refresh(desk: Desk, token: str, now: datetime) -> IssuedTokens:
    return await refresh_from(desk, token, NOWHERE, now)


async def _registered(desk: Desk, now: datetime) -> str:
    user = NewUser("ann@example.org", PASSWORD, "UTC", "en", None, None, None)
    made = await register(desk, user, NOWHERE, now)
    return made.tokens.refresh_token


async def _refused(desk: Desk, token: str, now: datetime) -> bool:
    try:
        await refresh(desk, token, now)
    except BadRefreshToken:
        return True
    return False


async def test_a_chain_of_refreshes_goes_on(desk: Desk) -> None:
    now = utc_now()
    token = await _registered(desk, now)
    for days in range(1, 5):
        token = (await refresh(desk, token, now + timedelta(days=days))).refresh_token


async def test_a_used_token_ends_the_family(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    second = (await refresh(desk, first, now)).refresh_token
    assert await _refused(desk, first, now + LATER)
    assert await _refused(desk, second, now + LATER)


async def test_a_reuse_leaves_other_log_ins_alone(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    other = await log_in(desk, "ann@example.org", PASSWORD, NOWHERE, now)
    await refresh(desk, first, now)
    assert await _refused(desk, first, now + LATER)
    await refresh(desk, other.refresh_token, now + LATER)


async def test_a_lost_answer_is_given_again_once(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    lost = await refresh(desk, first, now)
    again = await refresh(desk, first, now + timedelta(seconds=3))
    assert again.refresh_token != lost.refresh_token
    assert await _refused(desk, first, now + timedelta(seconds=4))
    assert await _refused(desk, again.refresh_token, now + timedelta(seconds=5))


async def test_after_a_retry_the_new_token_works_and_the_lost_one_ends_it_all(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    lost = await refresh(desk, first, now)
    again = await refresh(desk, first, now)
    third = await refresh(desk, again.refresh_token, now)
    assert await _refused(desk, lost.refresh_token, now)
    assert await _refused(desk, third.refresh_token, now)


async def test_two_at_once_are_an_answer_and_its_retry(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    both = await asyncio.gather(refresh(desk, first, now), refresh(desk, first, now))
    assert len({tokens.refresh_token for tokens in both}) == 2
    used = [await _refused(desk, tokens.refresh_token, now + LATER) for tokens in both]
    assert used == [False, True]


async def test_of_many_at_once_no_more_than_two_are_answered(desk: Desk) -> None:
    now = utc_now()
    first = await _registered(desk, now)
    outcomes = await asyncio.gather(*(refresh(desk, first, now) for _ in range(8)), return_exceptions=True)
    answered = [outcome for outcome in outcomes if isinstance(outcome, IssuedTokens)]
    assert len(answered) == 2
    assert all([await _refused(desk, tokens.refresh_token, now) for tokens in answered])


async def test_a_log_in_that_is_not_used_expires(desk: Desk) -> None:
    now = utc_now()
    token = await _registered(desk, now)
    assert await _refused(desk, token, now + desk.refresh_ttl)


@pytest.mark.parametrize("token", ["x", "", "é" * 40, "A" * 43])
async def test_an_unknown_token_is_refused(desk: Desk, token: str) -> None:
    assert await _refused(desk, token, utc_now())


async def test_tokens_are_stored_as_hashes_only(desk: Desk, database: Database) -> None:
    token = await _registered(desk, utc_now())
    async with database.tenant(1) as connection:
        rows = await connection.fetch("SELECT * FROM user_sessions s JOIN refresh_tokens t USING (user_id)")
    assert len(rows) == 1
    assert token not in str(rows)


async def test_expired_log_ins_leave_with_their_tokens_and_locators(desk: Desk, database: Database) -> None:
    now = utc_now()
    token = await _registered(desk, now)
    much_later = now + desk.refresh_ttl + desk.longest_session + timedelta(days=1)
    await log_in(desk, "ann@example.org", PASSWORD, NOWHERE, much_later)
    async with database.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM refresh_tokens") == 1
    async with database.untenanted() as connection:
        located = await connection.fetchval("SELECT locate_refresh_token(sha256($1::text::bytea))", token)
    assert located is None
