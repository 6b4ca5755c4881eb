"""Marks of stale days: whose days do not include all facts, and from when on."""

from collections.abc import Collection
from datetime import UTC, datetime

from shared.chassis.postgres import Connection

Subject = tuple[int, str]  # user and mode

MODES = ("LIVE", "PAPER")
BEGINNING = datetime(1, 1, 2, tzinfo=UTC)  # before every fact

LIST_USERS = "SELECT DISTINCT user_id FROM stale_days WHERE user_id > $1 ORDER BY user_id LIMIT $2"


def marking(change: str) -> str:
    """Return a statement that executes `change` and marks the days of the rows it returns: user_id, mode, moment.

    It locks a mark that exists, even if the mark stays as it is. So no transaction computes these days and
    deletes the mark without the facts of one that has not committed yet. Marks are locked in one order.
    """
    return f"""
        WITH changed AS ({change})
        INSERT INTO stale_days AS stale (user_id, mode, since)
        SELECT user_id, mode, min(moment) FROM changed GROUP BY user_id, mode ORDER BY user_id, mode
        ON CONFLICT (user_id, mode) DO UPDATE SET since = excluded.since WHERE excluded.since < stale.since
    """


MARK_ALL = marking(
    """
    SELECT user_id, mode, $3::timestamptz AS moment
    FROM unnest($1::bigint[]) AS marked (user_id), unnest($2::text[]) AS every (mode)
    """
)


async def mark_all(connection: Connection, users: Collection[int]) -> None:
    """Mark all days of the users."""
    await connection.execute(MARK_ALL, list(users), MODES, BEGINNING)


async def lock_marks(connection: Connection, users: Collection[int]) -> dict[Subject, datetime]:
    """Lock the users' marks until the transaction ends; waits for transactions that are storing facts of theirs."""
    rows = await connection.fetch(
        """
        SELECT user_id, mode, since FROM stale_days WHERE user_id = ANY ($1::bigint[])
        ORDER BY user_id, mode FOR UPDATE
        """,
        list(users),
    )
    return {(row["user_id"], row["mode"]): row["since"] for row in rows}


async def delete_marks(connection: Connection, subjects: Collection[Subject]) -> None:
    await connection.execute(
        """
        DELETE FROM stale_days AS stale USING unnest($1::bigint[], $2::text[]) AS computed (user_id, mode)
        WHERE stale.user_id = computed.user_id AND stale.mode = computed.mode
        """,
        [user_id for user_id, _ in subjects],
        [mode for _, mode in subjects],
    )


async def is_marked(connection: Connection, user_id: int) -> bool:
    marked: bool = await connection.fetchval("SELECT EXISTS (SELECT FROM stale_days WHERE user_id = $1)", user_id)
    return marked


async def list_marked_users(connection: Connection, after: int, limit: int) -> list[int]:
    """List users with marks, ascending. Reads ids across tenants, so it needs the queue role."""
    return [row["user_id"] for row in await connection.fetch(LIST_USERS, after, limit)]
