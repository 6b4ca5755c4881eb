"""Registering: an account, its first login, and the news of it."""

from dataclasses import dataclass, replace
from datetime import datetime

import asyncpg

from services.auth.domain.accounts import Credentials, NewUser, Profile, email_sha256
from services.auth.domain.registrations import (
    Registered,
    as_of,
    has_trial,
    provider_of,
    seconds_to_wait,
    with_one_more,
)
from services.auth.errors import (
    AccountDisabled,
    BadCredentials,
    EmailTaken,
    TooManyRegistrations,
    UsernameTaken,
)
from services.auth.operations.authentication import (
    ClaimedAccount,
    PasswordCheck,
    find_known,
    giving_back,
    look_up,
    prove,
    succeed,
)
from services.auth.operations.end_logins import Owner, end_surplus_logins
from services.auth.operations.logins import open_session, record_for
from services.auth.operations.tokens import IssuedTokens
from services.auth.queries import accounts, registrations
from shared.chassis.events.outbox import emit
from shared.chassis.http.client_address import Client
from shared.chassis.http.idempotency import KeptAnswer, find_answer, insert_answer
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.types import new_id


@dataclass(frozen=True)
class Once:
    """The client's key, and what has to be the same for it to be the same request."""

    key: str
    request_sha256: bytes


@dataclass(frozen=True)
class Registration:
    """`trial`: whether the account begins with one; None where it is an older account, whose plan billing knows."""

    profile: Profile
    tokens: IssuedTokens
    trial: bool | None = None
    replayed: bool = False


@dataclass(frozen=True)
class _Request:
    """What is to be registered, by whom and when."""

    user: NewUser
    client: Client
    now: datetime
    once: Once | None


async def register(
    desk: PasswordCheck, user: NewUser, client: Client, now: datetime, once: Once | None = None
) -> Registration:
    """For an e-mail that has an account this is a login that was asked for in the wrong place: it fails as one
    does, and only whoever knows the password is told that there is an account. What is refused for the network's
    or for the username's sake is refused in the same way whether or not the e-mail has an account.

    Raises BadCredentials, EmailTaken, UsernameTaken, TooManyRegistrations, TooManyAttempts, TooManyLogins,
    IdempotencyMismatch.
    """
    request = _Request(user, client, now, once)
    await _check_network(desk, client, now)
    found = await look_up(desk, user.email, client, now)
    if await _is_username_taken(desk, user.username):
        return await _register_with_taken_username(desk, found, request)
    if found.known is None:
        async with giving_back(desk, found):
            password_hash = await desk.passwords.hash(user.password)
        made = await _claim(desk, found, request, password_hash)
        if made is not None:
            return made
        found = await find_known(desk, found, user.email)  # somebody was faster
    known = await prove(desk, found, user.password, "REGISTER_FAILED", client, now)
    return await _register_again(desk, found, known, request)


async def _check_network(desk: PasswordCheck, client: Client, now: datetime) -> None:
    """Raises TooManyRegistrations. Before the e-mail is looked at: it tells nothing about that."""
    async with desk.database.untenanted() as connection:
        registered = await registrations.find_registered(connection, provider_of(client.ip_address))
    if registered is not None:
        _refuse_too_many(desk, as_of(registered, now), now)


def _refuse_too_many(desk: PasswordCheck, registered: Registered, now: datetime) -> None:
    if seconds := seconds_to_wait(registered, desk.registrations, now):
        raise TooManyRegistrations(retry_after_s=seconds)


async def _is_username_taken(desk: PasswordCheck, username: str | None) -> bool:
    if username is None:
        return False
    async with desk.database.untenanted() as connection:
        return await accounts.locate_username(connection, username) is not None


async def _register_with_taken_username(
    desk: PasswordCheck, found: ClaimedAccount, request: _Request
) -> Registration:
    """Raises UsernameTaken for an unknown e-mail and for a wrong password alike, after the same work."""
    try:
        known = await prove(desk, found, request.user.password, "REGISTER_FAILED", request.client, request.now)
    except BadCredentials as error:
        raise UsernameTaken from error
    return await _register_again(desk, found, known, request)


async def _claim(
    desk: PasswordCheck, found: ClaimedAccount, request: _Request, password_hash: str
) -> Registration | None:
    """None where the e-mail has got an account meanwhile."""
    async with desk.database.untenanted() as connection:
        user_id = await accounts.get_next_user_id(connection)
    try:
        async with desk.database.tenant(user_id) as connection:
            if await accounts.locate_email(connection, email_sha256(request.user.email), claim=user_id) != user_id:
                return None
            made = await _make_account(desk, connection, user_id, request, password_hash)
            await succeed(connection, replace(found, user_id=user_id), request.now)
            owner = Owner(user_id, made.profile.public_id)
            await record_for(connection, owner, "REGISTER", request.client, request.now, object="/v1/me")
            return made
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name == accounts.USERNAME_TAKEN:
            raise UsernameTaken from error
        raise


async def _make_account(
    desk: PasswordCheck, connection: Connection, user_id: int, request: _Request, password_hash: str
) -> Registration:
    user, client, now, once = request.user, request.client, request.now, request.once
    trial = await _count_registration(desk, connection, client, now)
    registered = _registered(user_id, user, trial=trial)
    await claim_users(connection, [registered])
    await accounts.insert_user(connection, user_id, registered.public_id, user, password_hash, now)
    session_id, tokens = await open_session(desk, connection, registered, client, now)
    await emit(connection, registered)
    if once is not None:  # no token is kept: whoever asks again gets new ones, for the password
        await insert_answer(connection, user_id, once.key, once.request_sha256, KeptAnswer(201, "/v1/me", ""))
    profile = await accounts.find_profile(connection, user_id, session_id)
    assert profile is not None, "written in this transaction"
    return Registration(profile, tokens, trial)


async def _count_registration(desk: PasswordCheck, connection: Connection, client: Client, now: datetime) -> bool:
    """Whether this account has a trial. Raises TooManyRegistrations, and nothing is registered then."""
    locked = await registrations.lock_registered(connection, provider_of(client.ip_address), now)
    registered = as_of(locked, now)
    _refuse_too_many(desk, registered, now)
    trial = has_trial(registered, desk.registrations)
    await registrations.update_registered(connection, with_one_more(registered, trial=trial))
    return trial


async def _register_again(
    desk: PasswordCheck, found: ClaimedAccount, known: Credentials, request: _Request
) -> Registration:
    """A key proves nothing: the account that it made is shown to whoever knows its password, as at a login."""
    user_id, client, now, once = found.user_id, request.client, request.now, request.once
    if once is None:
        raise EmailTaken
    async with desk.database.tenant(user_id) as connection:
        if await find_answer(connection, user_id, once.key, once.request_sha256) is None:
            raise EmailTaken
        if not await accounts.update_login(connection, user_id, known.password_hash, known.password_hash, now):
            raise BadCredentials
        owner = Owner(user_id, known.public_id)
        session_id, tokens = await open_session(desk, connection, owner, client, now)
        await end_surplus_logins(connection, owner, now)
        profile = await accounts.find_profile(connection, user_id, session_id)
        if profile is None:
            raise AccountDisabled
        await succeed(connection, found, now)
        await record_for(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return Registration(profile, tokens, replayed=True)


def _registered(user_id: int, user: NewUser, *, trial: bool) -> UserRegistered:
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
