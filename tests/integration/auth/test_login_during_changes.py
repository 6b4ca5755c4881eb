"""A login that is verified while the password changes, or while the account is closed, fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from services.auth.domain.accounts import NewUser
from services.auth.errors import AccountDisabled, BadCredentials
from services.auth.operations.authentication import AuthContext
from services.auth.operations.logins import log_in
from services.auth.operations.registration import register
from shared.chassis.clock import utc_now
from shared.chassis.http.client_address import Client
from shared.testing.api_client import PASSWORD
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually

NOWHERE = Client(None, None)
ANN = NewUser("ann@example.org", PASSWORD, "UTC", "en", None, None, None)
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@asynccontextmanager
async def held(access: DatabaseAccess, change: str) -> AsyncIterator[Callable[[], Awaitable[int]]]:
    """Hold a change of all users uncommitted until the block ends; concurrent logins wait for its lock."""
    connection = await asyncpg.connect(access.owner_dsn)
    try:
        async with connection.transaction():
            await connection.execute(f"UPDATE auth.users SET {change}")
            yield lambda: connection.fetchval(WAITING)
    finally:
        await connection.close()


@pytest.mark.parametrize(
    ("change", "refusal"),
    [("password_hash = 'another'", BadCredentials), ("is_active = false", AccountDisabled)],
    ids=["password changed", "account closed"],
)
async def test_no_login_survives_a_change_that_ends_all_logins(
    desk: AuthContext, database_access: DatabaseAccess, change: str, refusal: type[Exception]
) -> None:
    now = utc_now()
    await register(desk, ANN, NOWHERE, now)
    async with held(database_access, change) as waiting:
        late = asyncio.create_task(log_in(desk, ANN.email, PASSWORD, NOWHERE, now))
        await eventually(waiting, bool)
    with pytest.raises(refusal):
        await late
    owner = await asyncpg.connect(database_access.owner_dsn)
    try:
        assert await owner.fetchval("SELECT count(*) FROM auth.user_sessions") == 1  # the one of the registration
    finally:
        await owner.close()


async def test_concurrent_logins_all_succeed(desk: AuthContext) -> None:
    now = utc_now()
    await register(desk, ANN, NOWHERE, now)
    tokens = await asyncio.gather(*(log_in(desk, ANN.email, PASSWORD, NOWHERE, now) for _ in range(4)))
    assert len({each.refresh_token for each in tokens}) == 4
