"""Users, and the locators of e-mails and usernames."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.auth.domain.accounts import Account, Credentials, NewUser, Profile
from shared.chassis.postgres import Connection

USERNAME_TAKEN = "username_taken"  # name of the constraint


async def get_next_user_id(connection: Connection) -> int:
    user_id: int = await connection.fetchval("SELECT nextval('user_ids')")
    return user_id


async def locate_email(connection: Connection, email_sha256: bytes, claim: int | None = None) -> int | None:
    """Return the user who owns this e-mail. With `claim`, assign it to that user unless it has an owner."""
    owner: int | None = await connection.fetchval("SELECT locate_email($1, $2)", email_sha256, claim)
    return owner


async def locate_username(connection: Connection, username: str) -> int | None:
    """Return the user with this username, compared without case."""
    owner: int | None = await connection.fetchval("SELECT locate_username($1)", username)
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
        "SELECT public_id, email, password_hash, is_active FROM users WHERE user_id = $1", user_id
    )
    return None if row is None else Credentials(*row)


async def find_public_id(connection: Connection, user_id: int) -> UUID | None:
    public_id: UUID | None = await connection.fetchval("SELECT public_id FROM users WHERE user_id = $1", user_id)
    return public_id


async def find_profile(connection: Connection, user_id: int, session_id: UUID) -> Profile | None:
    """Return the user if they are active and this login has not ended."""
    row = await connection.fetchrow(
        """
        SELECT public_id, email, username, first_name, last_name, timezone, language, u.is_active,
               email_verified, subscription_tier, subscription_start_date, subscription_end_date,
               trial_end_date, last_login, login_count, u.created_at, u.updated_at
        FROM users u JOIN user_sessions s USING (user_id)
        WHERE u.user_id = $1 AND s.session_id = $2 AND u.is_active AND s.is_active
        """,
        user_id,
        session_id,
    )
    return None if row is None else Profile(*row)


async def lock_user(connection: Connection, user_id: int) -> datetime | None:
    """Lock the user until the transaction ends. Returns when they were last changed."""
    changed_at: datetime | None = await connection.fetchval(
        "SELECT updated_at FROM users WHERE user_id = $1 FOR UPDATE", user_id
    )
    return changed_at


async def update_profile(connection: Connection, user_id: int, profile: Profile) -> int | None:
    """Store the names, time zone and language. Return the sequence number of this change, or None if nothing
    changes."""
    number: int | None = await connection.fetchval(
        """
        UPDATE users SET username = $2, first_name = $3, last_name = $4, timezone = $5, language = $6,
               aggregate_seq = aggregate_seq + 1
        WHERE user_id = $1
              AND (username, first_name, last_name, timezone, language) IS DISTINCT FROM ($2, $3, $4, $5, $6)
        RETURNING aggregate_seq
        """,
        user_id,
        profile.username,
        profile.first_name,
        profile.last_name,
        profile.timezone,
        profile.language,
    )
    return number


async def update_active(connection: Connection, user_id: int, *, active: bool) -> int | None:
    """Return the sequence number of this change, or None if nothing changes."""
    number: int | None = await connection.fetchval(
        """
        UPDATE users SET is_active = $2, aggregate_seq = aggregate_seq + 1
        WHERE user_id = $1 AND is_active <> $2 RETURNING aggregate_seq
        """,
        user_id,
        active,
    )
    return number


async def find_account(connection: Connection, user_id: int) -> Account | None:
    """Return the published fields of a user."""
    row = await connection.fetchrow(
        "SELECT public_id, email, timezone, language, is_active FROM users WHERE user_id = $1", user_id
    )
    return None if row is None else Account(*row)


async def update_password(connection: Connection, user_id: int, old_hash: str, new_hash: str) -> bool:
    """Return False if the password has been changed meanwhile."""
    tag = await connection.execute(
        "UPDATE users SET password_hash = $3 WHERE user_id = $1 AND password_hash = $2", user_id, old_hash, new_hash
    )
    return bool(tag == "UPDATE 1")


async def update_login(connection: Connection, user_id: int, old_hash: str, new_hash: str, now: datetime) -> bool:
    """Count a login and replace the hash, under the user's lock.

    Returns False if the password has been changed or the account closed meanwhile: both end all logins, and this
    one would begin after that.
    """
    tag = await connection.execute(
        """
        UPDATE users SET last_login = $4, login_count = login_count + 1, password_hash = $3
        WHERE user_id = $1 AND password_hash = $2 AND is_active
        """,
        user_id,
        old_hash,
        new_hash,
        now,
    )
    return bool(tag == "UPDATE 1")


@dataclass(frozen=True)
class Entitlement:
    """The projection of a subscription in `users`."""

    user_id: int
    version: int
    plan: str
    period_start: datetime
    period_end: datetime | None
    trial_end: datetime | None


async def update_subscriptions(connection: Connection, entitlements: Sequence[Entitlement]) -> None:
    """Update each user once; a version that is not newer than the stored one changes nothing."""
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
