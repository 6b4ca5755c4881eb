"""Failed logins: repeated failures are delayed without locking out the owner, and do not reveal whether an account
exists."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import pytest

from services.auth.domain.accounts import NewUser
from services.auth.domain.attempts import COUNTER_TTL, FreeAttempts
from services.auth.errors import BadCredentials, BadRefreshToken, EmailTaken, TooManyAttempts, WrongPassword
from services.auth.operations.authentication import AuthContext
from services.auth.operations.logins import log_in
from services.auth.operations.profile import change_password
from services.auth.operations.refresh import refresh
from services.auth.operations.registration import register
from services.auth.queries.attempts import delete_expired_attempts
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.errors import ProblemError
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Database
from shared.testing.api_client import PASSWORD, ApiClient

HOME, STRANGER = Client("203.0.113.7", None), Client("198.51.100.1", None)
WRONG = "wrong horse battery"
EMAIL = "ann@example.org"
USER = NewUser(EMAIL, PASSWORD, "UTC", "en", None, None, None)
SECOND = timedelta(seconds=1)


@pytest.fixture
def strict(desk: AuthContext) -> AuthContext:
    """Return a context that allows three failures per account and six per network without delay."""
    return replace(desk, free_attempts=FreeAttempts(account=3, network=6))


async def _outcome(attempt: Awaitable[object]) -> str:
    try:
        await attempt
    except ProblemError as error:
        return error.type
    return "done"


async def _outcomes(desk: AuthContext, times: int, client: Client, now: datetime, email: str = EMAIL) -> list[str]:
    return [await _outcome(log_in(desk, email, WRONG, client, now)) for _ in range(times)]


async def test_failing_logins_are_slowed_and_then_refused(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    assert await _outcomes(strict, 4, STRANGER, now) == ["bad-credentials"] * 3 + ["too-many-attempts"]
    with pytest.raises(TooManyAttempts) as refused:
        await log_in(strict, EMAIL, PASSWORD, STRANGER, now)
    assert refused.value.extra == {"retry_after_s": 1}
    assert await _outcomes(strict, 2, STRANGER, now + SECOND) == ["bad-credentials", "too-many-attempts"]
    with pytest.raises(TooManyAttempts) as refused:
        await log_in(strict, EMAIL, WRONG, STRANGER, now + SECOND)
    assert refused.value.extra == {"retry_after_s": 2}


async def test_the_answer_says_when_to_retry(auth: ApiClient) -> None:
    answers = [await auth.log_in("nobody@example.org", WRONG) for _ in range(11)]
    assert [answer.status for answer in answers] == [401] * 10 + [429]
    assert (answers[-1].body["type"], answers[-1].headers["Retry-After"]) == ("/problems/too-many-attempts", "1")


async def test_concurrent_failures_are_counted_like_sequential_ones(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    attempts = [_outcome(log_in(strict, EMAIL, WRONG, STRANGER, now)) for _ in range(8)]
    assert sorted(await asyncio.gather(*attempts)) == ["bad-credentials"] * 3 + ["too-many-attempts"] * 5


async def test_failures_are_counted_across_instances_and_restarts(strict: AuthContext, settings: object) -> None:
    now = utc_now()
    await _outcomes(strict, 3, STRANGER, now)
    other = await Database.connect(settings)  # type: ignore[arg-type]  # the settings of `desk`
    assert await _outcomes(replace(strict, database=other), 1, STRANGER, now) == ["too-many-attempts"]
    await other.close()


async def test_a_correct_password_resets_the_failures(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    for _ in range(3):
        assert await _outcomes(strict, 2, STRANGER, now) == ["bad-credentials"] * 2
        await log_in(strict, EMAIL, PASSWORD, STRANGER, now)
        now += COUNTER_TTL


async def test_strangers_do_not_lock_out_a_user_on_a_known_network(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    for number in range(8):
        await _outcomes(strict, 1, Client(f"198.51.100.{number}", None), now)
    assert await _outcome(log_in(strict, EMAIL, PASSWORD, Client("192.0.2.1", None), now)) == "too-many-attempts"
    await log_in(strict, EMAIL, PASSWORD, HOME, now)
    assert await _outcomes(strict, 4, HOME, now) == ["bad-credentials"] * 3 + ["too-many-attempts"]


async def test_a_network_is_slowed_across_the_accounts_it_tries(strict: AuthContext) -> None:
    now = utc_now()
    clients = [Client(f"2001:db8::{number}", None) for number in range(8)]
    outcomes = [
        (await _outcomes(strict, 1, client, now, f"{number}@example.org"))[0]
        for number, client in enumerate(clients)
    ]
    assert outcomes == ["bad-credentials"] * 6 + ["too-many-attempts"] * 2
    assert await _outcomes(strict, 1, Client("2001:db8:0:1::1", None), now) == ["bad-credentials"]


async def test_logging_in_to_an_own_account_does_not_reset_the_network(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, STRANGER, now)
    for number in range(6):
        await _outcomes(strict, 1, STRANGER, now, f"{number}@example.org")
        await _outcome(log_in(strict, EMAIL, PASSWORD, STRANGER, now))
    assert await _outcomes(strict, 1, STRANGER, now, "one.more@example.org") == ["too-many-attempts"]


async def test_registering_a_known_email_fails_and_counts_as_a_login(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    again = replace(USER, password=WRONG)
    outcomes = [await _outcome(register(strict, again, STRANGER, now)) for _ in range(4)]
    assert outcomes == ["bad-credentials"] * 3 + ["too-many-attempts"]
    assert await _outcomes(strict, 1, STRANGER, now) == ["too-many-attempts"]


async def test_only_the_correct_password_reveals_that_the_account_exists(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    with pytest.raises(EmailTaken):
        await register(strict, USER, STRANGER, now)
    with pytest.raises(BadCredentials):
        await register(strict, replace(USER, password=WRONG), STRANGER, now)


async def test_bad_refresh_tokens_are_slowed_and_good_ones_accepted(strict: AuthContext) -> None:
    now = utc_now()
    good = (await register(strict, USER, HOME, now)).tokens.refresh_token
    outcomes = [await _outcome(refresh(strict, "x" * 43, HOME, now)) for _ in range(7)]
    assert outcomes == ["bad-refresh-token"] * 6 + ["too-many-attempts"]
    good = (await refresh(strict, good, HOME, now)).refresh_token
    with pytest.raises(BadRefreshToken):
        await refresh(strict, "x" * 43, HOME, now + SECOND)
    await log_in(strict, EMAIL, PASSWORD, HOME, now)


async def test_guessing_the_old_password_is_slowed_too(strict: AuthContext) -> None:
    now = utc_now()
    made = await register(strict, USER, HOME, now)
    async with strict.database.tenant(1) as connection:
        session_id: UUID = await connection.fetchval("SELECT session_id FROM user_sessions")
    me = Principal(1, made.profile.public_id, frozenset(), session_id)

    def change(old: str) -> Awaitable[None]:
        return change_password(strict, me, session_id, old, "new horse battery", STRANGER, now)

    for _ in range(3):
        with pytest.raises(WrongPassword):
            await change(WRONG)
    with pytest.raises(TooManyAttempts):
        await change(PASSWORD)


async def test_an_attempt_refused_for_load_is_not_counted(strict: AuthContext) -> None:
    now = utc_now()
    await register(strict, USER, HOME, now)
    strict.passwords._free_places = 0
    outcomes = [await _outcome(log_in(strict, EMAIL, PASSWORD, STRANGER, now)) for _ in range(9)]
    assert outcomes == ["too-many-logins"] * 9
    strict.passwords._free_places = 1
    await log_in(strict, EMAIL, PASSWORD, STRANGER, now)


async def test_counters_expire_and_are_deleted_in_bounded_batches(strict: AuthContext, database: Database) -> None:
    now = utc_now()
    await _outcomes(strict, 1, STRANGER, now - COUNTER_TTL, "old@example.org")
    for number in range(3):
        client = Client(f"192.0.2.{number}", None)
        await _outcomes(strict, 1, client, now + number * SECOND, f"{number}@example.org")
    async with database.untenanted() as connection:
        assert await delete_expired_attempts(connection, now - COUNTER_TTL + SECOND, 100) == 2
        assert await delete_expired_attempts(connection, now - COUNTER_TTL, 4) == 2
        assert await connection.fetchval("SELECT count(*) FROM attempts") == 4


async def test_known_and_unknown_emails_run_the_same_queries(strict: AuthContext) -> None:
    """Timing is measured in benchmarks/auth.py."""
    now = utc_now()
    await register(strict, USER, HOME, now)
    queries: list[str] = []
    async with strict.database._app.acquire() as connection:  # the pool's only connection
        connection.add_query_logger(lambda query: queries.append(" ".join(query.query.split()[:4])))
    failing = (
        log_in(strict, EMAIL, WRONG, STRANGER, now),
        log_in(strict, "nobody@example.org", WRONG, STRANGER, now),
        register(strict, replace(USER, password=WRONG), STRANGER, now),
    )
    seen: list[list[str]] = []
    queries.clear()
    for attempt in failing:
        with pytest.raises(BadCredentials):
            await attempt
        seen.append(queries[:])
        queries.clear()
    ends = ("RELEASE failure", "ROLLBACK TO failure")
    known, unknown, registering = [[each for each in one if not each.startswith(ends)] for one in seen]
    assert len(known) > 8
    assert known == unknown
    # A registration first counts registrations from its network, before it looks up the e-mail.
    network_queries, registering = registering[: -len(known)], registering[-len(known) :]
    assert [each for each in network_queries if "network" in each]
    assert not [each for each in network_queries if "email" in each]
    assert registering == known
