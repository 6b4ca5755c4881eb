"""Registering, logging in and logging out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from services.auth import queries
from services.auth.domain import (
    MOST_SESSIONS,
    Client,
    EndReason,
    NewUser,
    Profile,
    email_sha256,
    session_expiry,
)
from services.auth.errors import AccountDisabled, BadCredentials, EmailTaken
from services.auth.operations.passwords import Passwords
from services.auth.operations.tokens import AccessTokens, IssuedTokens, new_secret, secret_sha256
from shared.chassis.idempotency import Answer, find_answer, insert_answer
from shared.chassis.identity import claim_users
from shared.chassis.outbox import emit
from shared.chassis.postgres import Connection, Database
from shared.contracts.auth import UserRegistered
from shared.contracts.types import new_id

NOBODY = 0


@dataclass(frozen=True)
class Desk:
    """What a log-in needs: the accounts, the hashers, the signing key and how long things last."""

    database: Database
    passwords: Passwords
    tokens: AccessTokens
    refresh_ttl: timedelta
    longest_session: timedelta


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


async def register(
    desk: Desk, user: NewUser, client: Client, now: datetime, once: Once | None = None
) -> Registration:
    """Raises EmailTaken, TooManyLogins, IdempotencyMismatch."""
    password_hash = await desk.passwords.hash(user.password)
    async with desk.database.untenanted() as connection:
        user_id = await queries.get_next_user_id(connection)
    async with desk.database.tenant(user_id) as connection:
        if await queries.locate_email(connection, email_sha256(user.email), claim=user_id) == user_id:
            return await _make_account(desk, connection, user_id, user, password_hash, client, now, once)
    if once is None:
        raise EmailTaken
    return await _register_again(desk, user, client, now, once)


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
    await queries.insert_user(connection, user_id, registered.public_id, user, password_hash, now)
    session_id, tokens = await _open_session(desk, connection, registered, client, now)
    await emit(connection, registered)
    if once is not None:  # no token is kept: whoever asks again gets new ones, for the password
        await insert_answer(connection, user_id, once.key, once.request_sha256, Answer(201, "/v1/me", ""))
    profile = await queries.find_profile(connection, user_id, session_id)
    assert profile is not None, "written in this transaction"
    return Registration(profile, tokens)


async def _register_again(desk: Desk, user: NewUser, client: Client, now: datetime, once: Once) -> Registration:
    """A key proves nothing: the account that it made is shown to whoever knows its password, as at a log-in."""
    async with desk.database.untenanted() as connection:
        user_id = await queries.locate_email(connection, email_sha256(user.email)) or NOBODY
    async with desk.database.tenant(user_id) as connection:
        known = await queries.find_credentials(connection, user_id)
    if known is None or not await desk.passwords.check(known.password_hash, user.password):
        raise EmailTaken
    async with desk.database.tenant(user_id) as connection:
        if await find_answer(connection, user_id, once.key, once.request_sha256) is None:
            raise EmailTaken
        session_id, tokens = await _open_session(desk, connection, _Owner(user_id, known.public_id), client, now)
        await queries.update_surplus_sessions_ended(connection, user_id, MOST_SESSIONS, now)
        profile = await queries.find_profile(connection, user_id, session_id)
    if profile is None:
        raise AccountDisabled
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

    Raises BadCredentials, AccountDisabled, TooManyLogins.
    """
    async with desk.database.untenanted() as connection:
        user_id = await queries.locate_email(connection, email_sha256(email)) or NOBODY
    async with desk.database.tenant(user_id) as connection:
        known = await queries.find_credentials(connection, user_id)
    if not await desk.passwords.check(known.password_hash if known else None, password) or known is None:
        raise BadCredentials
    if not known.is_active:
        raise AccountDisabled
    outdated = desk.passwords.is_outdated(known.password_hash)
    new_hash = await desk.passwords.hash(password) if outdated else known.password_hash
    async with desk.database.tenant(user_id) as connection:
        await queries.update_login(connection, user_id, known.password_hash, new_hash, now)
        await queries.delete_forgotten_sessions(connection, user_id, now - desk.longest_session)
        _, tokens = await _open_session(desk, connection, _Owner(user_id, known.public_id), client, now)
        await queries.update_surplus_sessions_ended(connection, user_id, MOST_SESSIONS, now)
    return tokens


@dataclass(frozen=True)
class _Owner:
    user_id: int
    public_id: UUID


async def _open_session(
    desk: Desk, connection: Connection, owner: _Owner | UserRegistered, client: Client, now: datetime
) -> tuple[UUID, IssuedTokens]:
    session_id = new_id()
    token_id, refresh_token = new_secret(), new_secret()
    refresh_sha256 = secret_sha256(refresh_token)
    expires_at = session_expiry(now, now, desk.refresh_ttl, desk.longest_session)
    await queries.insert_session(
        connection,
        owner.user_id,
        session_id,
        secret_sha256(token_id),
        refresh_sha256,
        client,
        now,
        expires_at,
    )
    await queries.insert_refresh_token(connection, owner.user_id, refresh_sha256, session_id, 0, now)
    await queries.locate_refresh_token(connection, refresh_sha256, claim=owner.user_id)
    access_token = desk.tokens.sign(owner.public_id, session_id, token_id, now)
    return session_id, IssuedTokens(access_token, refresh_token, desk.tokens.ttl_s)


async def log_out(database: Database, refresh_token: str, now: datetime) -> None:
    """End the log-in that this token belongs to; one that is unknown belongs to none."""
    token_sha256 = secret_sha256(refresh_token)
    async with database.untenanted() as connection:
        user_id = await queries.locate_refresh_token(connection, token_sha256)
    if user_id is None:
        return
    async with database.tenant(user_id) as connection:
        given = await queries.find_refresh_token(connection, user_id, token_sha256)
        if given is not None:
            await queries.update_session_ended(connection, user_id, given.session_id, "LOGGED_OUT", now)


async def end_session(database: Database, user_id: int, session_id: UUID, reason: EndReason, now: datetime) -> bool:
    """False if this user has no such live log-in."""
    async with database.tenant(user_id) as connection:
        return await queries.update_session_ended(connection, user_id, session_id, reason, now)
