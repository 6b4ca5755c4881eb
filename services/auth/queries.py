"""All SQL of auth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain import Client, Credentials, EndReason, Family, NewUser, Profile, Session
from shared.chassis.postgres import Connection


async def get_next_user_id(connection: Connection) -> int:
    user_id: int = await connection.fetchval("SELECT nextval('user_ids')")
    return user_id


async def locate_email(connection: Connection, email_sha256: bytes, claim: int | None = None) -> int | None:
    """Whose e-mail this is; with `claim`, the first to claim it owns it."""
    owner: int | None = await connection.fetchval("SELECT locate_email($1, $2)", email_sha256, claim)
    return owner


async def locate_refresh_token(connection: Connection, token_sha256: bytes, claim: int | None = None) -> int | None:
    """Whose refresh token this is."""
    owner: int | None = await connection.fetchval("SELECT locate_refresh_token($1, $2)", token_sha256, claim)
    return owner


async def insert_user(
    connection: Connection, user_id: int, public_id: UUID, user: NewUser, password_hash: str, now: datetime
) -> None:
    await connection.execute(
        """
        INSERT INTO users (user_id, public_id, email, password_hash, username, first_name, last_name,
                           timezone, language, last_login, login_count)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 1)
        """,
        user_id,
        public_id,
        user.email,
        password_hash,
        user.username,
        user.first_name,
        user.last_name,
        user.timezone,
        user.language,
        now,
    )


async def find_credentials(connection: Connection, user_id: int) -> Credentials | None:
    row = await connection.fetchrow(
        "SELECT public_id, password_hash, is_active FROM users WHERE user_id = $1", user_id
    )
    return None if row is None else Credentials(*row)


async def find_profile(connection: Connection, user_id: int, session_id: UUID) -> Profile | None:
    """The user, if he is active and this log-in of his has not ended."""
    row = await connection.fetchrow(
        """
        SELECT public_id, email, username, first_name, last_name, timezone, language, u.is_active,
               email_verified, subscription_tier, subscription_start_date, subscription_end_date,
               trial_end_date, last_login, login_count, u.created_at
        FROM users u JOIN user_sessions s USING (user_id)
        WHERE u.user_id = $1 AND s.session_id = $2 AND u.is_active AND s.is_active
        """,
        user_id,
        session_id,
    )
    return None if row is None else Profile(*row)


async def update_login(connection: Connection, user_id: int, old_hash: str, new_hash: str, now: datetime) -> None:
    """Count a log-in; the hash is replaced unless the password was changed meanwhile."""
    await connection.execute(
        """
        UPDATE users SET last_login = $4, login_count = login_count + 1,
               password_hash = CASE WHEN password_hash = $2 THEN $3 ELSE password_hash END
        WHERE user_id = $1
        """,
        user_id,
        old_hash,
        new_hash,
        now,
    )


async def insert_session(
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
        "INSERT INTO refresh_tokens VALUES ($1, $2, $3, $4, $5)",
        user_id,
        token_sha256,
        session_id,
        generation,
        now,
    )


@dataclass(frozen=True)
class GivenToken:
    """A refresh token that was given out once."""

    session_id: UUID
    generation: int
    issued_at: datetime


async def find_refresh_token(connection: Connection, user_id: int, token_sha256: bytes) -> GivenToken | None:
    row = await connection.fetchrow(
        """
        SELECT session_id, generation, issued_at FROM refresh_tokens
        WHERE user_id = $1 AND token_sha256 = $2
        """,
        user_id,
        token_sha256,
    )
    return None if row is None else GivenToken(*row)


async def lock_family(connection: Connection, user_id: int, session_id: UUID) -> Family | None:
    """The log-in, held until the transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT s.session_id, s.is_active, u.is_active, u.public_id, s.generation, s.rotated_token,
               s.rotated_at, s.retried, s.created_at, s.expires_at
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
    """A new pair of tokens; in the same generation it answers a retry."""
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
    """Tokens that have expired by themselves need not be recognised any more."""
    await connection.execute(
        "DELETE FROM refresh_tokens WHERE user_id = $1 AND session_id = $2 AND issued_at < $3",
        user_id,
        session_id,
        before,
    )


async def update_session_ended(
    connection: Connection, user_id: int, session_id: UUID, reason: EndReason, now: datetime
) -> bool:
    """False if there is none, or it had ended before."""
    tag = await connection.execute(
        """
        UPDATE user_sessions SET is_active = false, ended_at = $4, end_reason = $3
        WHERE user_id = $1 AND session_id = $2 AND is_active
        """,
        user_id,
        session_id,
        reason,
        now,
    )
    return bool(tag == "UPDATE 1")


async def update_surplus_sessions_ended(connection: Connection, user_id: int, keep: int, now: datetime) -> None:
    """The oldest log-ins end where there are more than `keep`."""
    await connection.execute(
        """
        UPDATE user_sessions SET is_active = false, ended_at = $3, end_reason = 'TOO_MANY'
        WHERE user_id = $1 AND session_id IN (
            SELECT session_id FROM user_sessions WHERE user_id = $1 AND is_active AND expires_at > $3
            ORDER BY created_at DESC OFFSET $2)
        """,
        user_id,
        keep,
        now,
    )


async def delete_forgotten_sessions(connection: Connection, user_id: int, before: datetime) -> None:
    """With their refresh tokens and locators."""
    await connection.execute("DELETE FROM user_sessions WHERE user_id = $1 AND expires_at < $2", user_id, before)


LIST_SESSIONS = """
    SELECT session_id, host(ip_address), user_agent, created_at, coalesce(rotated_at, created_at), expires_at
    FROM user_sessions WHERE user_id = $1 AND is_active AND expires_at > $2
    ORDER BY created_at DESC LIMIT $3
"""


async def list_sessions(connection: Connection, user_id: int, now: datetime, limit: int) -> list[Session]:
    rows = await connection.fetch(LIST_SESSIONS, user_id, now, limit)
    return [Session(*row) for row in rows]


@dataclass(frozen=True)
class Entitlement:
    """What `users` shows of a subscription."""

    user_id: int
    version: int
    plan: str
    period_start: datetime
    period_end: datetime | None
    trial_end: datetime | None


async def update_subscriptions(connection: Connection, entitlements: Sequence[Entitlement]) -> None:
    """Each user once; an older version than the one that is there changes nothing."""
    await connection.execute(
        """
        UPDATE users u
        SET subscription_version = new.version, subscription_tier = new.plan,
            subscription_start_date = new.period_start, subscription_end_date = new.period_end,
            trial_end_date = coalesce(new.trial_end, u.trial_end_date)
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::timestamptz[], $5::timestamptz[],
                    $6::timestamptz[]) AS new (user_id, version, plan, period_start, period_end, trial_end)
        WHERE u.user_id = new.user_id AND u.subscription_version < new.version
        """,
        [entitlement.user_id for entitlement in entitlements],
        [entitlement.version for entitlement in entitlements],
        [entitlement.plan for entitlement in entitlements],
        [entitlement.period_start for entitlement in entitlements],
        [entitlement.period_end for entitlement in entitlements],
        [entitlement.trial_end for entitlement in entitlements],
    )
