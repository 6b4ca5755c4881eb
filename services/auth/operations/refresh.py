"""A new pair of tokens for a refresh token, each of which is good once."""

from datetime import datetime

import structlog

from services.auth.domain.accounts import Family, RefreshToken, Verdict, judge_refresh, session_expiry
from services.auth.domain.attempts import counted, network_of, refresh_counter, seconds_to_wait
from services.auth.errors import AlreadyRefreshed, BadRefreshToken, TooManyAttempts
from services.auth.operations.authentication import NOBODY, PasswordCheck
from services.auth.operations.end_logins import Owner, end_login
from services.auth.operations.tokens import IssuedTokens, new_secret, secret_sha256
from services.auth.queries import attempts
from services.auth.queries import logins as queries
from shared.chassis.activity import Activity, record
from shared.chassis.http.client_address import Client
from shared.chassis.postgres import Connection

log = structlog.get_logger()


async def refresh(desk: PasswordCheck, refresh_token: str, client: Client, now: datetime) -> IssuedTokens:
    """Raises BadRefreshToken, and the login has ended then, if the token had been used before; AlreadyRefreshed,
    TooManyAttempts.

    A token that is good is taken whatever else came from its network.
    """
    token_sha256 = secret_sha256(refresh_token)
    async with desk.database.untenanted() as connection:
        user_id = await queries.locate_refresh_token(connection, token_sha256) or NOBODY
    async with desk.database.tenant(user_id) as connection:
        # Raised outside, so that the end of a family is committed.
        tokens = await _exchange(desk, connection, user_id, token_sha256, client, now)
    if tokens is not None:
        return tokens
    async with desk.database.untenanted() as connection:
        [count] = await attempts.lock_attempts(connection, [refresh_counter(network_of(client.ip_address))], now)
        if seconds := seconds_to_wait(count, desk.free.of(count.counter), now):
            raise TooManyAttempts(retry_after_s=seconds)
        await attempts.update_attempts(connection, [counted(count, now)])
    raise BadRefreshToken


async def _exchange(
    desk: PasswordCheck, connection: Connection, user_id: int, token_sha256: bytes, client: Client, now: datetime
) -> IssuedTokens | None:
    given = await queries.find_refresh_token(connection, user_id, token_sha256)
    if given is None:
        return None
    family = await queries.lock_family(connection, user_id, given.session_id)
    given = await queries.find_refresh_token(connection, user_id, token_sha256)  # as of the lock
    if family is None or given is None:
        return None
    match judge_refresh(family, given, now):
        case Verdict.ROTATE:
            return await _rotate(desk, connection, user_id, family, family.generation + 1, given, now)
        case Verdict.REPEAT:
            return await _rotate(desk, connection, user_id, family, family.generation, given, now)
        case Verdict.TOO_OFTEN:
            raise AlreadyRefreshed
        case Verdict.REUSE:
            log.warning("refresh_token_reused", session_id=str(family.session_id))
            owner = Owner(user_id, family.public_id)
            await end_login(connection, owner, family.session_id, "TOKEN_REUSED", now)
            ended = f"/v1/me/sessions/{family.session_id}"
            reuse = Activity(user_id, family.public_id, "REUSE_REFRESH_TOKEN", client, now, ended, "UNKNOWN")
            await record(connection, "auth", reuse)
            return None
        case Verdict.REFUSE:
            return None


async def _rotate(
    desk: PasswordCheck,
    connection: Connection,
    user_id: int,
    family: Family,
    generation: int,
    given: RefreshToken,
    now: datetime,
) -> IssuedTokens:
    token_id, refresh_token = new_secret(), new_secret()
    refresh_sha256 = secret_sha256(refresh_token)
    await queries.update_rotated(
        connection,
        user_id,
        family,
        generation,
        given.sha256,
        secret_sha256(token_id),
        refresh_sha256,
        now,
        session_expiry(family.created_at, now, desk.refresh_ttl, desk.longest_session),
    )
    await queries.update_refresh_token_used(connection, user_id, given.sha256, now)
    await queries.insert_refresh_token(connection, user_id, refresh_sha256, family.session_id, generation, now)
    await queries.locate_refresh_token(connection, refresh_sha256, claim=user_id)
    await queries.delete_old_refresh_tokens(connection, user_id, family.session_id, now - desk.refresh_ttl)
    access_token = desk.tokens.sign(family.public_id, family.session_id, token_id, now)
    return IssuedTokens(access_token, refresh_token, desk.tokens.ttl_s)
