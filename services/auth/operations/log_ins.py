"""Registering, logging in and logging out."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import (
    MOST_SESSIONS,
    Credentials,
    NewUser,
    Profile,
    email_sha256,
    session_expiry,
)
from services.auth.errors import AccountDisabled, EmailTaken
from services.auth.operations.proving import NOBODY, Desk, Found, find_known, giving_back, look_up, prove, succeed
from services.auth.operations.tokens import IssuedTokens, new_secret, secret_sha256
from services.auth.queries import accounts
from services.auth.queries import log_ins as log_in_queries
from shared.chassis.activity import Activity, record
from shared.chassis.auth import Principal
from shared.chassis.idempotency import Answer, find_answer, insert_answer
from shared.chassis.identity import claim_users
from shared.chassis.origin import Client
from shared.chassis.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserRegistered
from shared.contracts.types import new_id


@dataclass(frozen=True)
class Once:
    """The client's key, and what has to be the same for it to be the same request."""

    key: str
    request_sha256: bytes


@dataclass(frozen=True)
class Registration:
    profile: Profile
    tokens: IssuedTokens
    replayed: bool = False


@dataclass(frozen=True)
class _Owner:
    user_id: int
    public_id: UUID


async def register(
    desk: Desk, user: NewUser, client: Client, now: datetime, once: Once | None = None
) -> Registration:
    """For an e-mail that has an account this is a log-in that was asked for in the wrong place: it fails as one
    does, and only whoever knows the password is told that there is an account.

    Raises BadCredentials, EmailTaken, TooManyAttempts, TooManyLogins, IdempotencyMismatch.
    """
    found = await look_up(desk, user.email, client, now)
    if found.known is None:
        async with giving_back(desk, found):
            password_hash = await desk.passwords.hash(user.password)
        made = await _claim(desk, found, user, password_hash, client, now, once)
        if made is not None:
            return made
        found = await find_known(desk, found, user.email)  # somebody was faster
    known = await prove(desk, found, user.password, "REGISTER_FAILED", client, now)
    return await _register_again(desk, found, known, client, now, once)


async def _claim(
    desk: Desk,
    found: Found,
    user: NewUser,
    password_hash: str,
    client: Client,
    now: datetime,
    once: Once | None,
) -> Registration | None:
    async with desk.database.untenanted() as connection:
        user_id = await accounts.get_next_user_id(connection)
    async with desk.database.tenant(user_id) as connection:
        if await accounts.locate_email(connection, email_sha256(user.email), claim=user_id) != user_id:
            return None
        made = await _make_account(desk, connection, user_id, user, password_hash, client, now, once)
        await succeed(connection, replace(found, user_id=user_id), now)
        who = _Owner(user_id, made.profile.public_id)
        await _record(connection, who, "REGISTER", client, now, object="/v1/me")
        return made


async def _make_account(
    desk: Desk,
    connection: Connection,
    user_id: int,
    user: NewUser,
    password_hash: str,
    client: Client,
    now: datetime,
    once: Once | None,
) -> Registration:
    registered = _registered(user_id, user)
    await claim_users(connection, [registered])
    await accounts.insert_user(connection, user_id, registered.public_id, user, password_hash, now)
    session_id, tokens = await _open_session(desk, connection, registered, client, now)
    await emit(connection, registered)
    if once is not None:  # no token is kept: whoever asks again gets new ones, for the password
        await insert_answer(connection, user_id, once.key, once.request_sha256, Answer(201, "/v1/me", ""))
    profile = await accounts.find_profile(connection, user_id, session_id)
    assert profile is not None, "written in this transaction"
    return Registration(profile, tokens)


async def _register_again(
    desk: Desk, found: Found, known: Credentials, client: Client, now: datetime, once: Once | None
) -> Registration:
    """A key proves nothing: the account that it made is shown to whoever knows its password, as at a log-in."""
    user_id = found.user_id
    if once is None:
        raise EmailTaken
    async with desk.database.tenant(user_id) as connection:
        if await find_answer(connection, user_id, once.key, once.request_sha256) is None:
            raise EmailTaken
        owner = _Owner(user_id, known.public_id)
        session_id, tokens = await _open_session(desk, connection, owner, client, now)
        await log_in_queries.update_surplus_sessions_ended(connection, user_id, MOST_SESSIONS, now)
        profile = await accounts.find_profile(connection, user_id, session_id)
        if profile is None:
            raise AccountDisabled
        await succeed(connection, found, now)
        await _record(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return Registration(profile, tokens, replayed=True)


def _registered(user_id: int, user: NewUser) -> UserRegistered:
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
    )


async def log_in(desk: Desk, email: str, password: str, client: Client, now: datetime) -> IssuedTokens:
    """The same statements and the same hashing whether or not there is such a user.

    Raises BadCredentials, AccountDisabled, TooManyAttempts, TooManyLogins.
    """
    found = await look_up(desk, email, client, now)
    known = await prove(desk, found, password, "LOG_IN_FAILED", client, now)
    user_id = found.user_id
    if not known.is_active:
        raise AccountDisabled
    outdated = desk.passwords.is_outdated(known.password_hash)
    new_hash = await desk.passwords.hash(password) if outdated else known.password_hash
    async with desk.database.tenant(user_id) as connection:
        await accounts.update_login(connection, user_id, known.password_hash, new_hash, now)
        await log_in_queries.delete_forgotten_sessions(connection, user_id, now - desk.longest_session)
        owner = _Owner(user_id, known.public_id)
        session_id, tokens = await _open_session(desk, connection, owner, client, now)
        await log_in_queries.update_surplus_sessions_ended(connection, user_id, MOST_SESSIONS, now)
        await succeed(connection, found, now)
        await _record(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return tokens


async def _open_session(
    desk: Desk, connection: Connection, owner: _Owner | UserRegistered, client: Client, now: datetime
) -> tuple[UUID, IssuedTokens]:
    session_id = new_id()
    token_id, refresh_token = new_secret(), new_secret()
    refresh_sha256 = secret_sha256(refresh_token)
    expires_at = session_expiry(now, now, desk.refresh_ttl, desk.longest_session)
    await log_in_queries.insert_session(
        connection,
        owner.user_id,
        session_id,
        secret_sha256(token_id),
        refresh_sha256,
        client,
        now,
        expires_at,
    )
    await log_in_queries.insert_refresh_token(connection, owner.user_id, refresh_sha256, session_id, 0, now)
    await log_in_queries.locate_refresh_token(connection, refresh_sha256, claim=owner.user_id)
    access_token = desk.tokens.sign(owner.public_id, session_id, token_id, now)
    return session_id, IssuedTokens(access_token, refresh_token, desk.tokens.ttl_s)


async def log_out(database: Database, refresh_token: str, client: Client, now: datetime) -> None:
    """End the log-in that this token belongs to; one that is unknown belongs to none, and is looked for as long."""
    token_sha256 = secret_sha256(refresh_token)
    async with database.untenanted() as connection:
        user_id = await log_in_queries.locate_refresh_token(connection, token_sha256) or NOBODY
    async with database.tenant(user_id) as connection:
        given = await log_in_queries.find_refresh_token(connection, user_id, token_sha256)
        public_id = await accounts.find_public_id(connection, user_id)
        if given is not None and public_id is not None:
            await _log_out(connection, _Owner(user_id, public_id), given.session_id, client, now)


async def log_out_of(database: Database, caller: Principal, client: Client, now: datetime) -> None:
    """End the log-in that an access token belongs to."""
    if caller.session_id is None:
        return
    async with database.tenant(caller.user_id) as connection:
        await _log_out(connection, _Owner(caller.user_id, caller.public_id), caller.session_id, client, now)


async def _log_out(connection: Connection, owner: _Owner, session_id: UUID, client: Client, now: datetime) -> None:
    if await log_in_queries.update_session_ended(connection, owner.user_id, session_id, "LOGGED_OUT", now):
        await _record(connection, owner, "LOG_OUT", client, now, object=f"/v1/me/sessions/{session_id}")


async def _record(
    connection: Connection, owner: _Owner, activity_type: str, client: Client, now: datetime, object: str
) -> None:
    activity = Activity(owner.user_id, owner.public_id, activity_type, client, now, object)
    await record(connection, "auth", activity)


async def end_session(database: Database, user_id: int, session_id: UUID, now: datetime) -> bool:
    """False if this user has no such live log-in."""
    async with database.tenant(user_id) as connection:
        return await log_in_queries.update_session_ended(connection, user_id, session_id, "REVOKED", now)


async def end_other_sessions(database: Database, user_id: int, current: UUID, now: datetime) -> int:
    """How many there were."""
    async with database.tenant(user_id) as connection:
        return await log_in_queries.update_other_sessions_ended(connection, user_id, current, "REVOKED", now)
