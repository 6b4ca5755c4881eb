"""Register an account: create it with its first login, and publish `user.registered`."""

from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from services.auth.domain.accounts import Credentials, NewUser, Profile
from services.auth.domain.registrations import (
    RegistrationCount,
    add_registration,
    has_trial,
    provider_network,
    roll_windows,
    seconds_to_wait,
)
from services.auth.errors import (
    AccountDisabled,
    BadCredentials,
    EmailTaken,
    TooManyRegistrations,
    UsernameTaken,
)
from services.auth.operations.authentication import (
    AuthContext,
    PasswordAttempt,
    begin_attempt,
    record_success,
    reload_account,
    uncount_if_busy,
    verify_password,
)
from services.auth.operations.end_logins import Owner, end_surplus_logins
from services.auth.operations.logins import open_login, record_activity
from services.auth.operations.tokens import IssuedTokens
from services.auth.queries import accounts, registrations
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.http.idempotency import IdempotencyKey, StoredAnswer, find_answer, insert_answer
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.emails import email_sha256
from shared.contracts.types import new_id


@dataclass(frozen=True)
class Registration:
    """A registered account and its first tokens.

    `trial` tells whether the account begins with a trial; None for an existing account, whose plan billing knows.
    """

    profile: Profile
    tokens: IssuedTokens
    trial: bool | None = None
    replayed: bool = False


@dataclass(frozen=True)
class _Request:
    """A request to register."""

    user: NewUser
    client: Client
    now: datetime
    idempotency: IdempotencyKey | None


async def register(
    auth: AuthContext, user: NewUser, client: Client, now: datetime, idempotency: IdempotencyKey | None = None
) -> Registration:
    """Register an account and log in.

    An e-mail that has an account is treated like a login: a wrong password fails like one, so only those who know
    the password learn that the account exists. Refusals because of the network or the username are the same whether
    or not the e-mail has an account.

    Raises BadCredentials, EmailTaken, UsernameTaken, TooManyRegistrations, TooManyAttempts, TooManyLogins,
    IdempotencyMismatch.
    """
    request = _Request(user, client, now, idempotency)
    await _check_network(auth, client, now)
    attempt = await begin_attempt(auth, user.email, client, now)
    if await _is_username_taken(auth, user.username):
        return await _register_with_taken_username(auth, attempt, request)
    if attempt.credentials is None:
        async with uncount_if_busy(auth, attempt):
            password_hash = await auth.passwords.hash(user.password)
        registration = await _claim(auth, attempt, request, password_hash)
        if registration is not None:
            return registration
        attempt = await reload_account(auth, attempt, user.email)  # registered by another request
    credentials = await verify_password(auth, attempt, user.password, "REGISTER_FAILED", client, now)
    return await _register_again(auth, attempt, credentials, request)


async def _check_network(auth: AuthContext, client: Client, now: datetime) -> None:
    """Raises TooManyRegistrations. Runs before the e-mail is looked up, so the refusal reveals nothing about it."""
    async with auth.database.untenanted() as connection:
        count = await registrations.find_registration_count(connection, provider_network(client.ip_address))
    if count is not None:
        _refuse_too_many(auth, roll_windows(count, now), now)


def _refuse_too_many(auth: AuthContext, count: RegistrationCount, now: datetime) -> None:
    if seconds := seconds_to_wait(count, auth.registration_limits, now):
        raise TooManyRegistrations(retry_after_s=seconds)


async def _is_username_taken(auth: AuthContext, username: str | None) -> bool:
    if username is None:
        return False
    async with auth.database.untenanted() as connection:
        return await accounts.locate_username(connection, username) is not None


async def _register_with_taken_username(
    auth: AuthContext, attempt: PasswordAttempt, request: _Request
) -> Registration:
    """Raises UsernameTaken for an unknown e-mail and for a wrong password, after the same work."""
    try:
        credentials = await verify_password(
            auth, attempt, request.user.password, "REGISTER_FAILED", request.client, request.now
        )
    except BadCredentials as error:
        raise UsernameTaken from error
    return await _register_again(auth, attempt, credentials, request)


async def _claim(
    auth: AuthContext, attempt: PasswordAttempt, request: _Request, password_hash: str
) -> Registration | None:
    """Return None if the e-mail has been registered meanwhile."""
    async with auth.database.untenanted() as connection:
        user_id = await accounts.get_next_user_id(connection)
    try:
        async with auth.database.tenant(user_id) as connection:
            if await accounts.locate_email(connection, email_sha256(request.user.email), claim=user_id) != user_id:
                return None
            registration = await _create_account(auth, connection, user_id, request, password_hash)
            await record_success(connection, replace(attempt, user_id=user_id), request.now)
            owner = Owner(user_id, registration.profile.public_id)
            await record_activity(connection, owner, "REGISTER", request.client, request.now, object="/v1/me")
            return registration
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == accounts.USERNAME_TAKEN:
            raise UsernameTaken from error
        raise


async def _create_account(
    auth: AuthContext, connection: Connection, user_id: int, request: _Request, password_hash: str
) -> Registration:
    user, client, now, idempotency = request.user, request.client, request.now, request.idempotency
    trial = await _count_registration(auth, connection, client, now)
    registered = _user_registered(user_id, user, trial=trial)
    await claim_users(connection, [registered])
    await accounts.insert_user(connection, user_id, registered.public_id, user, password_hash, now)
    session_id, tokens = await open_login(auth, connection, registered, client, now)
    await emit(connection, registered)
    if idempotency is not None:  # no token is stored: a repeated request gets new ones, for the password
        await insert_answer(connection, user_id, idempotency, StoredAnswer(201, "/v1/me", ""))
    profile = await accounts.find_profile(connection, user_id, session_id)
    assert profile is not None, "written in this transaction"
    return Registration(profile, tokens, trial)


async def _count_registration(auth: AuthContext, connection: Connection, client: Client, now: datetime) -> bool:
    """Count the account and return whether it begins with a trial. Raises TooManyRegistrations."""
    locked = await registrations.lock_registration_count(connection, provider_network(client.ip_address), now)
    count = roll_windows(locked, now)
    _refuse_too_many(auth, count, now)
    trial = has_trial(count, auth.registration_limits)
    await registrations.update_registration_count(connection, add_registration(count, trial=trial))
    return trial


async def _register_again(
    auth: AuthContext, attempt: PasswordAttempt, credentials: Credentials, request: _Request
) -> Registration:
    """Answer a repeated request. The key proves nothing: the password was verified, as at a login."""
    user_id, client, now, idempotency = attempt.user_id, request.client, request.now, request.idempotency
    if idempotency is None:
        raise EmailTaken
    async with auth.database.tenant(user_id) as connection:
        if await find_answer(connection, user_id, idempotency) is None:
            raise EmailTaken
        if not await accounts.update_login(
            connection, user_id, credentials.password_hash, credentials.password_hash, now
        ):
            raise BadCredentials
        owner = Owner(user_id, credentials.public_id)
        session_id, tokens = await open_login(auth, connection, owner, client, now)
        await end_surplus_logins(connection, owner, now)
        profile = await accounts.find_profile(connection, user_id, session_id)
        if profile is None:
            raise AccountDisabled
        await record_success(connection, attempt, now)
        await record_activity(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return Registration(profile, tokens, replayed=True)


def _user_registered(user_id: int, user: NewUser, *, trial: bool) -> UserRegistered:
    public_id = new_id()
    return UserRegistered(
        user_id=user_id,
        public_id=public_id,
        aggregate=f"user:{public_id}",
        aggregate_seq=1,
        email=user.email,
        timezone=user.timezone,
        language=user.language,
        is_active=True,
        trial=trial,
    )
