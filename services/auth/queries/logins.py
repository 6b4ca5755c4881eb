"""Logins and their refresh tokens."""

from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import Family, Login, RefreshToken
from shared.chassis.http.client_address import Client
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.auth import EndReason


async def locate_refresh_token(connection: Connection, token_sha256: bytes, claim: int | None = None) -> int | None:
    """Return the user who owns this refresh token. With `claim`, assign it to that user."""
    owner: int | None = await connection.fetchval("SELECT locate_refresh_token($1, $2)", token_sha256, claim)
    return owner


async def insert_login(
    connection: Connection,
    user_id: int,
    session_id: UUID,
    session_token: bytes,
    refresh_token: bytes,
    client: Client,
    now: datetime,
    expires_at: datetime,
) -> None:
    await connection.execute(
        """
        INSERT INTO user_sessions (user_id, session_id, session_token, refresh_token, ip_address, user_agent,
                                   created_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
        """,
        user_id,
        session_id,
        session_token,
        refresh_token,
        client.ip_address,
        client.user_agent,
        now,
        expires_at,
    )


async def insert_refresh_token(
    connection: Connection,
    user_id: int,
    token_sha256: bytes,
    session_id: UUID,
    generation: int,
    now: datetime,
) -> None:
    await connection.execute(
        """
        INSERT INTO refresh_tokens (user_id, token_sha256, session_id, generation, issued_at, marked)
        VALUES ($1, $2, $3, $4, $5, true)
        """,
        user_id,
        token_sha256,
        session_id,
        generation,
        now,
    )


async def find_refresh_token(connection: Connection, user_id: int, token_sha256: bytes) -> RefreshToken | None:
    row = await connection.fetchrow(
        """
        SELECT token_sha256, session_id, generation, marked, used_at, successors FROM refresh_tokens
        WHERE user_id = $1 AND token_sha256 = $2
        """,
        user_id,
        token_sha256,
    )
    return None if row is None else RefreshToken(*row)


async def update_refresh_token_used(
    connection: Connection, user_id: int, token_sha256: bytes, now: datetime
) -> None:
    """Mark the token used and count one more successor; the time of the first use is kept."""
    await connection.execute(
        """
        UPDATE refresh_tokens SET marked = true, used_at = coalesce(used_at, $3), successors = successors + 1
        WHERE user_id = $1 AND token_sha256 = $2
        """,
        user_id,
        token_sha256,
        now,
    )


async def lock_family(connection: Connection, user_id: int, session_id: UUID) -> Family | None:
    """Lock the login until the transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT s.session_id, s.is_active, u.is_active, u.public_id, s.generation, s.rotated_token,
               s.rotated_at, s.created_at, s.expires_at
        FROM user_sessions s JOIN users u USING (user_id)
        WHERE s.user_id = $1 AND s.session_id = $2 FOR UPDATE OF s
        """,
        user_id,
        session_id,
    )
    return None if row is None else Family(*row)


async def update_rotated(
    connection: Connection,
    user_id: int,
    family: Family,
    generation: int,
    rotated_token: bytes,
    session_token: bytes,
    refresh_token: bytes,
    now: datetime,
    expires_at: datetime,
) -> None:
    """Store a new pair of tokens. The same generation means a repeated use of the same refresh token."""
    await connection.execute(
        """
        UPDATE user_sessions
        SET generation = $3, retried = ($3 = generation), rotated_token = $4, session_token = $5,
            refresh_token = $6, rotated_at = CASE WHEN $3 = generation THEN rotated_at ELSE $7 END,
            expires_at = $8
        WHERE user_id = $1 AND session_id = $2
        """,
        user_id,
        family.session_id,
        generation,
        rotated_token,
        session_token,
        refresh_token,
        now,
        expires_at,
    )


async def delete_old_refresh_tokens(
    connection: Connection, user_id: int, session_id: UUID, before: datetime
) -> None:
    """Delete tokens that have expired by age: their reuse need not be detected."""
    await connection.execute(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND session_id = $2 AND issued_at < $3",
        user_id,
        session_id,
        before,
    )


async def update_login_ended(
    connection: Connection, user_id: int, session_id: UUID, reason: EndReason, now: datetime
) -> list[UUID]:
    """Return the login that ended; empty if there is no such login, or it has already ended."""
    rows = await connection.fetch(
        """
        UPDATE user_sessions SET is_active = false, ended_at = $4, end_reason = $3
        WHERE user_id = $1 AND session_id = $2 AND is_active RETURNING session_id
        """,
        user_id,
        session_id,
        reason,
        now,
    )
    return [row["session_id"] for row in rows]


async def update_other_logins_ended(
    connection: Connection, user_id: int, keep: UUID | None, reason: EndReason, now: datetime
) -> list[UUID]:
    """End all logins but `keep`. Returns those that ended."""
    rows = await connection.fetch(
        """
        UPDATE user_sessions SET is_active = false, ended_at = $4, end_reason = $3
        WHERE user_id = $1 AND session_id IS DISTINCT FROM $2 AND is_active RETURNING session_id
        """,
        user_id,
        keep,
        reason,
        now,
    )
    return [row["session_id"] for row in rows]


async def update_surplus_logins_ended(connection: Connection, user_id: int, keep: int, now: datetime) -> list[UUID]:
    """End the oldest logins if there are more than `keep`. Returns those that ended."""
    rows = await connection.fetch(
        """
        UPDATE user_sessions SET is_active = false, ended_at = $3, end_reason = 'TOO_MANY'
        WHERE user_id = $1 AND session_id IN (
            SELECT session_id FROM user_sessions WHERE user_id = $1 AND is_active AND expires_at > $3
            ORDER BY created_at DESC OFFSET $2)
        RETURNING session_id
        """,
        user_id,
        keep,
        now,
    )
    return [row["session_id"] for row in rows]


async def delete_expired_logins(connection: Connection, user_id: int, before: datetime) -> None:
    """Delete logins that expired before `before`, with their refresh tokens and locators."""
    await connection.execute("DELETE FROM user_sessions WHERE user_id = $1 AND expires_at < $2", user_id, before)


ORDERS = {"created_at": Order(created_at=datetime, session_id=UUID)}


async def list_logins(connection: Connection, user_id: int, now: datetime, wanted: Slice) -> list[Login]:
    """Return active logins."""
    rows = await connection.fetch(
        f"""
        SELECT session_id, host(ip_address), user_agent, created_at, coalesce(rotated_at, created_at), expires_at
        FROM user_sessions WHERE user_id = $1 AND is_active AND expires_at > $2 {wanted.sql(3)}
        """,
        user_id,
        now,
        *wanted.arguments,
    )
    return [Login(*row) for row in rows]
