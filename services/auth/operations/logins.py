"""Logging in and logging out."""

from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import session_expiry
from services.auth.errors import AccountDisabled, BadCredentials
from services.auth.operations.authentication import NOBODY, PasswordCheck, look_up, prove, succeed
from services.auth.operations.end_logins import Owner, end_login, end_logins, end_surplus_logins
from services.auth.operations.tokens import IssuedTokens, new_secret, secret_sha256
from services.auth.queries import accounts
from services.auth.queries import logins as log_in_queries
from shared.chassis.activity import Activity, record
from shared.chassis.auth import Principal
from shared.chassis.http.client_address import Client
from shared.chassis.identity import OfUser
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

TRIES = 2  # a login beside this one may have renewed the hash of the same password


async def log_in(desk: PasswordCheck, email: str, password: str, client: Client, now: datetime) -> IssuedTokens:
    """The same statements and the same hashing whether or not there is such a user.

    Raises BadCredentials, AccountDisabled, TooManyAttempts, TooManyLogins.
    """
    for _ in range(TRIES):
        if tokens := await _log_in(desk, email, password, client, now):
            return tokens
    raise BadCredentials


async def _log_in(
    desk: PasswordCheck, email: str, password: str, client: Client, now: datetime
) -> IssuedTokens | None:
    """None where the account changed while the password was compared."""
    found = await look_up(desk, email, client, now)
    known = await prove(desk, found, password, "LOG_IN_FAILED", client, now)
    user_id = found.user_id
    if not known.is_active:
        raise AccountDisabled
    outdated = desk.passwords.is_outdated(known.password_hash)
    new_hash = await desk.passwords.hash(password) if outdated else known.password_hash
    async with desk.database.tenant(user_id) as connection:
        if not await accounts.update_login(connection, user_id, known.password_hash, new_hash, now):
            return None
        await log_in_queries.delete_forgotten_sessions(connection, user_id, now - desk.longest_session)
        owner = Owner(user_id, known.public_id)
        session_id, tokens = await open_session(desk, connection, owner, client, now)
        await end_surplus_logins(connection, owner, now)
        await succeed(connection, found, now)
        await record_for(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return tokens


async def open_session(
    desk: PasswordCheck, connection: Connection, owner: OfUser, client: Client, now: datetime
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
            await _log_out(connection, Owner(user_id, public_id), given.session_id, client, now)


async def log_out_of(database: Database, caller: Principal, client: Client, now: datetime) -> None:
    """End the log-in that an access token belongs to."""
    if caller.session_id is None:
        return
    async with database.tenant(caller.user_id) as connection:
        await _log_out(connection, Owner(caller.user_id, caller.public_id), caller.session_id, client, now)


async def _log_out(connection: Connection, owner: Owner, session_id: UUID, client: Client, now: datetime) -> None:
    if await end_login(connection, owner, session_id, "LOGGED_OUT", now):
        await record_for(connection, owner, "LOG_OUT", client, now, object=f"/v1/me/sessions/{session_id}")


async def record_for(
    connection: Connection, owner: OfUser, activity_type: str, client: Client, now: datetime, object: str
) -> None:
    activity = Activity(owner.user_id, owner.public_id, activity_type, client, now, object)
    await record(connection, "auth", activity)


async def end_session(database: Database, caller: Principal, session_id: UUID, now: datetime) -> bool:
    """False if this user has no such live login."""
    async with database.tenant(caller.user_id) as connection:
        return await end_login(connection, caller, session_id, "REVOKED", now)


async def end_other_sessions(database: Database, caller: Principal, current: UUID, now: datetime) -> int:
    """How many there were."""
    async with database.tenant(caller.user_id) as connection:
        return await end_logins(connection, caller, "REVOKED", now, keep=current)
