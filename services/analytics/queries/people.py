"""Users across tenants: ids as the queue role reads them, and the owners of e-mail addresses."""

from collections.abc import Mapping

from shared.chassis.postgres import Connection

# Users whose first days are not computed yet have no round.
ALL_USERS = "SELECT user_id FROM user_rounds UNION SELECT user_id FROM stale_days"


async def claim_emails(connection: Connection, owners: Mapping[bytes, int]) -> None:
    """Store the owners of e-mail hashes; the first user to claim a hash owns it."""
    await connection.execute(
        "SELECT locate_email(hashed, claim) FROM unnest($1::bytea[], $2::bigint[]) AS t(hashed, claim)",
        list(owners),
        list(owners.values()),
    )


async def locate_email(connection: Connection, email_sha256: bytes) -> int | None:
    owner: int | None = await connection.fetchval("SELECT locate_email($1)", email_sha256)
    return owner


async def count_users(connection: Connection) -> int:
    count: int = await connection.fetchval(f"SELECT count(*) FROM ({ALL_USERS}) AS known")
    return count


async def list_users(connection: Connection, after: int | None, limit: int) -> list[int]:
    rows = await connection.fetch(
        f"""
        SELECT user_id FROM ({ALL_USERS}) AS known
        WHERE $1::bigint IS NULL OR user_id > $1 ORDER BY user_id LIMIT $2
        """,
        after,
        limit,
    )
    return [row["user_id"] for row in rows]
