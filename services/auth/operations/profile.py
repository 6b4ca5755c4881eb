"""What a person changes of himself."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import asyncpg

from services.auth.domain.accounts import Account, Profile, email_sha256
from services.auth.domain.attempts import account_counter, network_counter, network_of
from services.auth.errors import UsernameTaken, WrongPassword
from services.auth.operations.authentication import (
    ClaimedAccount,
    PasswordCheck,
    count_attempt,
    giving_back,
    note_failure,
    succeed,
)
from services.auth.operations.end_logins import end_logins
from services.auth.queries import accounts, attempts
from shared.chassis.activity import Activity, record
from shared.chassis.auth import Principal
from shared.chassis.errors import Unauthorized
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.http.etags import IfMatch
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserUpdated


async def change_profile(
    database: Database, caller: Principal, session_id: UUID, changes: Mapping[str, object], if_match: IfMatch
) -> Profile:
    """What changes nothing is not told to others. Raises Unauthorized, PreconditionFailed, UsernameTaken."""
    async with database.tenant(caller.user_id) as connection:
        state = await accounts.lock_user(connection, caller.user_id)
        profile = await find_live_profile(connection, caller.user_id, session_id)
        assert state is not None, "a log-in has a user"
        if_match.check(state)
        values = {name: getattr(profile, name) for name in accounts.CHANGEABLE}
        number = await _update(connection, caller.user_id, {**values, **changes})
        if number is None:
            return profile
        changed = await find_live_profile(connection, caller.user_id, session_id)
        await emit(connection, updated(caller.user_id, number, changed))
        return changed


async def _update(connection: Connection, user_id: int, values: Mapping[str, object]) -> int | None:
    """Raises UsernameTaken; the transaction is over then."""
    try:
        return await accounts.update_profile(connection, user_id, values)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == accounts.USERNAME_TAKEN:
            raise UsernameTaken from error
        raise


async def find_live_profile(connection: Connection, user_id: int, session_id: UUID) -> Profile:
    """An access token outlives its log-in by minutes elsewhere; not here. Raises Unauthorized."""
    profile = await accounts.find_profile(connection, user_id, session_id)
    if profile is None:
        raise Unauthorized("this log-in has ended")
    return profile


def updated(user_id: int, number: int, profile: Profile | Account) -> UserUpdated:
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
    desk: PasswordCheck, caller: Principal, session_id: UUID, old: str, new: str, client: Client, now: datetime
) -> None:
    """Whoever else is logged in is so no more, and is known nowhere but here.

    Raises Unauthorized, WrongPassword, TooManyAttempts, TooManyLogins.
    """
    user_id = caller.user_id
    found = await _begin(desk, user_id, session_id, client, now)
    assert found.known is not None, "a log-in has a user"
    async with giving_back(desk, found):
        right = await desk.passwords.check(found.known.password_hash, old)
        new_hash = await desk.passwords.hash(new) if right else ""
    if not right:
        await note_failure(desk.database, found, "CHANGE_PASSWORD_FAILED", client, now)
        raise WrongPassword
    async with desk.database.tenant(user_id) as connection:
        if not await accounts.update_password(connection, user_id, found.known.password_hash, new_hash):
            raise WrongPassword  # by now
        await end_logins(connection, caller, "PASSWORD_CHANGED", now, keep=session_id)
        await succeed(connection, found, now)
        await attempts.delete_other_networks(connection, user_id, found.network)
        activity = Activity(user_id, caller.public_id, "CHANGE_PASSWORD", client, now, "/v1/me")
        await record(connection, "auth", activity)


async def _begin(
    desk: PasswordCheck, user_id: int, session_id: UUID, client: Client, now: datetime
) -> ClaimedAccount:
    """Whoever has a token is no stranger: he has a counter of his own."""
    network = network_of(client.ip_address)
    async with desk.database.tenant(user_id) as connection:
        await find_live_profile(connection, user_id, session_id)
        known = await accounts.find_credentials(connection, user_id)
        assert known is not None, "a log-in has a user"
        account = account_counter(email_sha256(known.email), network, known=True)
        found = ClaimedAccount(user_id, known, network, account, network_counter(network))
        await count_attempt(connection, found, desk.free, now)
    return found
