"""Log in, log out, and revoke logins."""

from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import login_expiry
from services.auth.errors import AccountDisabled, BadCredentials
from services.auth.operations.authentication import (
    NO_USER,
    AuthContext,
    begin_attempt,
    record_success,
    verify_password,
)
from services.auth.operations.end_logins import Owner, end_login, end_logins, end_surplus_logins
from services.auth.operations.tokens import IssuedTokens, new_secret, secret_sha256
from services.auth.queries import accounts
from services.auth.queries import logins as queries
from shared.chassis.activity import Activity, record
from shared.chassis.auth import Principal
from shared.chassis.http.client_address import Client
from shared.chassis.identity import OfUser
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id

TRIES = 2  # a concurrent login may have replaced the hash of the same password


async def log_in(auth: AuthContext, email: str, password: str, client: Client, now: datetime) -> IssuedTokens:
    """Log in with a password. Executes the same statements and hashing whether or not the e-mail has an account.

    Raises BadCredentials, AccountDisabled, TooManyAttempts, TooManyLogins.
    """
    for _ in range(TRIES):
        if tokens := await _log_in(auth, email, password, client, now):
            return tokens
    raise BadCredentials


async def _log_in(
    auth: AuthContext, email: str, password: str, client: Client, now: datetime
) -> IssuedTokens | None:
    """Return None if the account changed while the password was being checked."""
    attempt = await begin_attempt(auth, email, client, now)
    credentials = await verify_password(auth, attempt, password, "LOG_IN_FAILED", client, now)
    user_id = attempt.user_id
    if not credentials.is_active:
        raise AccountDisabled
    outdated = auth.passwords.is_outdated(credentials.password_hash)
    new_hash = await auth.passwords.hash(password) if outdated else credentials.password_hash
    async with auth.database.tenant(user_id) as connection:
        if not await accounts.update_login(connection, user_id, credentials.password_hash, new_hash, now):
            return None
        await queries.delete_expired_logins(connection, user_id, now - auth.longest_login)
        owner = Owner(user_id, credentials.public_id)
        session_id, tokens = await open_login(auth, connection, owner, client, now)
        await end_surplus_logins(connection, owner, now)
        await record_success(connection, attempt, now)
        await record_activity(connection, owner, "LOG_IN", client, now, object=f"/v1/me/sessions/{session_id}")
    return tokens


async def open_login(
    auth: AuthContext, connection: Connection, owner: OfUser, client: Client, now: datetime
) -> tuple[UUID, IssuedTokens]:
    session_id = new_id()
    token_id, refresh_token = new_secret(), new_secret()
    refresh_sha256 = secret_sha256(refresh_token)
    expires_at = login_expiry(now, now, auth.refresh_ttl, auth.longest_login)
    await queries.insert_login(
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
    access_token = auth.tokens.sign(owner.public_id, session_id, token_id, now)
    return session_id, IssuedTokens(access_token, refresh_token, auth.tokens.ttl_s)


async def log_out(database: Database, refresh_token: str, client: Client, now: datetime) -> None:
    """End the login of this refresh token. An unknown token ends none, after the same lookups."""
    token_sha256 = secret_sha256(refresh_token)
    async with database.untenanted() as connection:
        user_id = await queries.locate_refresh_token(connection, token_sha256) or NO_USER
    async with database.tenant(user_id) as connection:
        token = await queries.find_refresh_token(connection, user_id, token_sha256)
        public_id = await accounts.find_public_id(connection, user_id)
        if token is not None and public_id is not None:
            await _log_out(connection, Owner(user_id, public_id), token.session_id, client, now)


async def log_out_current(connection: Connection, caller: Principal, client: Client, now: datetime) -> None:
    """End the login of the caller's access token."""
    if caller.session_id is not None:
        await _log_out(connection, Owner(caller.user_id, caller.public_id), caller.session_id, client, now)


async def _log_out(connection: Connection, owner: Owner, session_id: UUID, client: Client, now: datetime) -> None:
    if await end_login(connection, owner, session_id, "LOGGED_OUT", now):
        await record_activity(connection, owner, "LOG_OUT", client, now, object=f"/v1/me/sessions/{session_id}")


async def record_activity(
    connection: Connection, owner: OfUser, activity_type: str, client: Client, now: datetime, object: str
) -> None:
    activity = Activity(owner.user_id, owner.public_id, activity_type, client, now, object)
    await record(connection, "auth", activity)


async def revoke_login(connection: Connection, caller: Principal, session_id: UUID, now: datetime) -> bool:
    """Return False if this user has no such active login."""
    return await end_login(connection, caller, session_id, "REVOKED", now)


async def revoke_other_logins(connection: Connection, caller: Principal, current: UUID, now: datetime) -> int:
    """End the caller's other logins. Returns the count."""
    return await end_logins(connection, caller, "REVOKED", now, keep=current)
