"""Verify passwords, and count and record failed attempts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from services.auth.domain.accounts import Credentials
from services.auth.domain.attempts import (
    KNOWN_NETWORK_TTL,
    MAX_KNOWN_NETWORKS,
    FreeAttempts,
    account_counter,
    add_attempt,
    network_counter,
    network_of,
    seconds_to_wait,
)
from services.auth.domain.networks import NOWHERE
from services.auth.domain.registrations import RegistrationLimits
from services.auth.errors import BadCredentials, TooManyAttempts, TooManyLogins
from services.auth.operations.passwords import Passwords
from services.auth.operations.tokens import AccessTokens
from services.auth.queries import accounts, attempts
from shared.chassis.activity import Activity, record
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Connection, Database
from shared.contracts.emails import email_sha256
from shared.contracts.types import new_id

NO_USER = 0


@dataclass(frozen=True)
class AuthContext:
    """The dependencies of the operations: database, password hashing, token signing, lifetimes and limits."""

    database: Database
    passwords: Passwords
    tokens: AccessTokens
    refresh_ttl: timedelta
    longest_login: timedelta
    free_attempts: FreeAttempts = field(default_factory=FreeAttempts)
    registration_limits: RegistrationLimits = field(default_factory=RegistrationLimits)


@dataclass(frozen=True)
class PasswordAttempt:
    """An attempt to give an account's password, and the counters it is counted in.

    `user_id` is NO_USER and `credentials` None if the e-mail has no account.
    """

    user_id: int
    credentials: Credentials | None
    network: str
    account_counter: bytes
    network_counter: bytes


async def begin_attempt(auth: AuthContext, email: str, client: Client, now: datetime) -> PasswordAttempt:
    """Look up the account and count the attempt. Raises TooManyAttempts.

    Executes the same statements whether or not the e-mail has an account, so that timing does not reveal it.
    """
    sha256, network = email_sha256(email), network_of(client.ip_address)
    async with auth.database.untenanted() as connection:
        user_id = await accounts.locate_email(connection, sha256) or NO_USER
    async with auth.database.tenant(user_id) as connection:
        credentials = await accounts.find_credentials(connection, user_id)
        known = await attempts.is_known_network(connection, user_id, network, now - KNOWN_NETWORK_TTL)
        account = account_counter(sha256, network, known=known)
        attempt = PasswordAttempt(user_id, credentials, network, account, network_counter(network))
        await count_attempt(connection, attempt, auth.free_attempts, now)
    return attempt


async def reload_account(auth: AuthContext, attempt: PasswordAttempt, email: str) -> PasswordAttempt:
    """Return the attempt with the account that was registered meanwhile."""
    async with auth.database.untenanted() as connection:
        user_id = await accounts.locate_email(connection, email_sha256(email)) or NO_USER
    async with auth.database.tenant(user_id) as connection:
        return replace(attempt, user_id=user_id, credentials=await accounts.find_credentials(connection, user_id))


async def count_attempt(
    connection: Connection, attempt: PasswordAttempt, free: FreeAttempts, now: datetime
) -> None:
    """Count an attempt. Raises TooManyAttempts: then it is not counted, and its transaction changes nothing."""
    counts = await attempts.lock_attempts(connection, [attempt.account_counter, attempt.network_counter], now)
    if seconds := max(seconds_to_wait(count, free.for_counter(count.counter), now) for count in counts):
        raise TooManyAttempts(retry_after_s=seconds)
    await attempts.update_attempts(connection, [add_attempt(count, now) for count in counts])


async def verify_password(
    auth: AuthContext, attempt: PasswordAttempt, password: str, failure_type: str, client: Client, now: datetime
) -> Credentials:
    """Check the password. Raises BadCredentials, after recording an activity of `failure_type`; TooManyLogins."""
    credentials = attempt.credentials
    async with uncount_if_busy(auth, attempt):
        right = await auth.passwords.check(credentials.password_hash if credentials else None, password)
    if not right or credentials is None:
        await record_failure(auth.database, attempt, failure_type, client, now)
        raise BadCredentials
    return credentials


@asynccontextmanager
async def uncount_if_busy(auth: AuthContext, attempt: PasswordAttempt) -> AsyncIterator[None]:
    """Take the attempt off its counters if the password could not be checked for lack of capacity."""
    try:
        yield
    except TooManyLogins:
        async with auth.database.untenanted() as connection:
            await attempts.uncount_attempt(connection, attempt.account_counter)
            await attempts.uncount_attempt(connection, attempt.network_counter)
        raise


async def record_success(connection: Connection, attempt: PasswordAttempt, now: datetime) -> None:
    """Clear the account's failures but not the network's, and mark the network as known to the user."""
    await attempts.delete_attempts(connection, attempt.account_counter)
    await attempts.uncount_attempt(connection, attempt.network_counter)
    if attempt.network != NOWHERE:
        await attempts.upsert_known_network(connection, attempt.user_id, attempt.network, now, MAX_KNOWN_NETWORKS)


async def record_failure(
    database: Database, attempt: PasswordAttempt, activity_type: str, client: Client, now: datetime
) -> None:
    """Record the failure in the account's activity log.

    Without an account the same is written, then undone in the same transaction, so that the response takes as long.
    """
    public_id = attempt.credentials.public_id if attempt.credentials else new_id()
    activity = Activity(attempt.user_id, public_id, activity_type, client, now, actor="UNKNOWN")
    async with database.tenant(attempt.user_id) as connection:
        await connection.execute("SAVEPOINT failure")
        await record(connection, "auth", activity)
        await connection.execute("RELEASE failure" if attempt.credentials else "ROLLBACK TO failure")
