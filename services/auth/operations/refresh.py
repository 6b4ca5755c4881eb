"""Exchange a refresh token for a new pair of tokens."""

from datetime import datetime

import structlog

from services.auth.domain.accounts import Family, RefreshToken, Verdict, judge_refresh, login_expiry
from services.auth.domain.attempts import add_attempt, network_of, refresh_counter, seconds_to_wait
from services.auth.errors import AlreadyRefreshed, BadRefreshToken, TooManyAttempts
from services.auth.operations.authentication import NO_USER, AuthContext
from services.auth.operations.end_logins import Owner, end_login
from services.auth.operations.tokens import IssuedTokens, new_secret, secret_sha256
from services.auth.queries import attempts
from services.auth.queries import logins as queries
from shared.chassis.activity import Activity, record
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Connection

log = structlog.get_logger()


async def refresh(auth: AuthContext, refresh_token: str, client: Client, now: datetime) -> IssuedTokens:
    """Raises BadRefreshToken, which ends the login if the token was used before; AlreadyRefreshed, TooManyAttempts.

    A valid token is accepted even while its network has to wait.
    """
    token_sha256 = secret_sha256(refresh_token)
    async with auth.database.untenanted() as connection:
        user_id = await queries.locate_refresh_token(connection, token_sha256) or NO_USER
    async with auth.database.tenant(user_id) as connection:
        # BadRefreshToken is raised outside this transaction, so that the end of the family is committed.
        tokens = await _exchange(auth, connection, user_id, token_sha256, client, now)
    if tokens is not None:
        return tokens
    async with auth.database.untenanted() as connection:
        [count] = await attempts.lock_attempts(connection, [refresh_counter(network_of(client.ip_address))], now)
        if seconds := seconds_to_wait(count, auth.free_attempts.for_counter(count.counter), now):
            raise TooManyAttempts(retry_after_s=seconds)
        await attempts.update_attempts(connection, [add_attempt(count, now)])
    raise BadRefreshToken


async def _exchange(
    auth: AuthContext, connection: Connection, user_id: int, token_sha256: bytes, client: Client, now: datetime
) -> IssuedTokens | None:
    token = await queries.find_refresh_token(connection, user_id, token_sha256)
    if token is None:
        return None
    family = await queries.lock_family(connection, user_id, token.session_id)
    token = await queries.find_refresh_token(connection, user_id, token_sha256)  # read again under the lock
    if family is None or token is None:
        return None
    match judge_refresh(family, token, now):
        case Verdict.ROTATE:
            return await _rotate(auth, connection, user_id, family, family.generation + 1, token, now)
        case Verdict.REPEAT:
            return await _rotate(auth, connection, user_id, family, family.generation, token, now)
        case Verdict.TOO_OFTEN:
            raise AlreadyRefreshed
        case Verdict.REUSE:
            log.warning("refresh_token_reused", session_id=str(family.session_id))
            owner = Owner(user_id, family.public_id)
            await end_login(connection, owner, family.session_id, "TOKEN_REUSED", now)
            login = f"/v1/me/sessions/{family.session_id}"
            reuse = Activity(user_id, family.public_id, "REUSE_REFRESH_TOKEN", client, now, login, "UNKNOWN")
            await record(connection, "auth", reuse)
            return None
        case Verdict.REFUSE:
            return None


async def _rotate(
    auth: AuthContext,
    connection: Connection,
    user_id: int,
    family: Family,
    generation: int,
    token: RefreshToken,
    now: datetime,
) -> IssuedTokens:
    token_id, refresh_token = new_secret(), new_secret()
    refresh_sha256 = secret_sha256(refresh_token)
    await queries.update_rotated(
        connection,
        user_id,
        family,
        generation,
        token.sha256,
        secret_sha256(token_id),
        refresh_sha256,
        now,
        login_expiry(family.created_at, now, auth.refresh_ttl, auth.longest_login),
    )
    await queries.update_refresh_token_used(connection, user_id, token.sha256, now)
    await queries.insert_refresh_token(connection, user_id, refresh_sha256, family.session_id, generation, now)
    await queries.locate_refresh_token(connection, refresh_sha256, claim=user_id)
    await queries.delete_old_refresh_tokens(connection, user_id, family.session_id, now - auth.refresh_ttl)
    access_token = auth.tokens.sign(family.public_id, family.session_id, token_id, now)
    return IssuedTokens(access_token, refresh_token, auth.tokens.ttl_s)
