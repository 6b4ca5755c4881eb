"""Change a user's own profile and password."""

from collections.abc import Callable
from datetime import datetime
from uuid import UUID

import asyncpg

from services.auth.domain.accounts import Account, Profile
from services.auth.domain.attempts import account_counter, network_counter, network_of
from services.auth.errors import UsernameTaken, WrongPassword
from services.auth.operations.authentication import (
    AuthContext,
    PasswordAttempt,
    count_attempt,
    record_failure,
    record_success,
    uncount_if_busy,
)
from services.auth.operations.end_logins import end_logins
from services.auth.queries import accounts, attempts
from shared.chassis.activity import Activity, record
from shared.chassis.auth import Principal
from shared.chassis.errors import Unauthorized
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserUpdated
from shared.contracts.emails import email_sha256


async def change_profile(
    connection: Connection,
    caller: Principal,
    session_id: UUID,
    change: Callable[[Profile], Profile],
    if_match: IfMatch,
) -> Profile:
    """Publish `user.updated` only if something changes. Raises Unauthorized, PreconditionFailed, UsernameTaken."""
    state = await accounts.lock_user(connection, caller.user_id)
    profile = await get_live_profile(connection, caller.user_id, session_id)
    assert state is not None, "a login has a user"
    if_match.check(state)
    number = await _update(connection, caller.user_id, change(profile))
    if number is None:
        return profile
    changed = await get_live_profile(connection, caller.user_id, session_id)
    await emit(connection, user_updated(caller.user_id, number, changed))
    return changed


async def _update(connection: Connection, user_id: int, profile: Profile) -> int | None:
    """Raises UsernameTaken, which aborts the transaction."""
    try:
        return await accounts.update_profile(connection, user_id, profile)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == accounts.USERNAME_TAKEN:
            raise UsernameTaken from error
        raise


async def get_live_profile(connection: Connection, user_id: int, session_id: UUID) -> Profile:
    """Raises Unauthorized if the login has ended: auth does not accept its access tokens until they expire."""
    profile = await accounts.find_profile(connection, user_id, session_id)
    if profile is None:
        raise Unauthorized("this login has ended")
    return profile


def user_updated(user_id: int, number: int, profile: Profile | Account) -> UserUpdated:
    return UserUpdated(
        user_id=user_id,
        public_id=profile.public_id,
        aggregate=f"user:{profile.public_id}",
        aggregate_seq=number,
        email=profile.email,
        timezone=profile.timezone,
        language=profile.language,
        is_active=profile.is_active,
    )


async def change_password(
    auth: AuthContext, caller: Principal, session_id: UUID, old: str, new: str, client: Client, now: datetime
) -> None:
    """End all other logins of the user, and remove all known networks except the current one.

    Raises Unauthorized, WrongPassword, TooManyAttempts, TooManyLogins.
    """
    user_id = caller.user_id
    attempt = await _begin_attempt(auth, user_id, session_id, client, now)
    assert attempt.credentials is not None, "a login has a user"
    async with uncount_if_busy(auth, attempt):
        right = await auth.passwords.check(attempt.credentials.password_hash, old)
        new_hash = await auth.passwords.hash(new) if right else ""
    if not right:
        await record_failure(auth.database, attempt, "CHANGE_PASSWORD_FAILED", client, now)
        raise WrongPassword
    async with auth.database.tenant(user_id) as connection:
        if not await accounts.update_password(connection, user_id, attempt.credentials.password_hash, new_hash):
            raise WrongPassword  # changed meanwhile
        await end_logins(connection, caller, "PASSWORD_CHANGED", now, keep=session_id)
        await record_success(connection, attempt, now)
        await attempts.delete_other_networks(connection, user_id, attempt.network)
        activity = Activity(user_id, caller.public_id, "CHANGE_PASSWORD", client, now, "/v1/me")
        await record(connection, "auth", activity)


async def _begin_attempt(
    auth: AuthContext, user_id: int, session_id: UUID, client: Client, now: datetime
) -> PasswordAttempt:
    """A caller with a token is no stranger: count the attempt as one from a known network."""
    network = network_of(client.ip_address)
    async with auth.database.tenant(user_id) as connection:
        await get_live_profile(connection, user_id, session_id)
        credentials = await accounts.find_credentials(connection, user_id)
        assert credentials is not None, "a login has a user"
        account = account_counter(email_sha256(credentials.email), network, known=True)
        attempt = PasswordAttempt(user_id, credentials, network, account, network_counter(network))
        await count_attempt(connection, attempt, auth.free_attempts, now)
    return attempt
