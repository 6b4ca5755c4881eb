"""Counters of failed attempts, and the known networks of users."""

from collections.abc import Sequence
from datetime import datetime

from services.auth.domain.attempts import AttemptCount
from shared.chassis.postgres import Connection


async def lock_attempts(connection: Connection, counters: Sequence[bytes], now: datetime) -> list[AttemptCount]:
    """Lock each counter until the transaction ends, creating missing ones with 0."""
    rows = await connection.fetch(
        """
        INSERT INTO attempts AS a SELECT counter, 0, $2 FROM unnest($1::bytea[]) AS counter ORDER BY counter
        ON CONFLICT (counter) DO UPDATE SET failures = a.failures RETURNING counter, failures, last_at
        """,
        counters,
        now,
    )
    return [AttemptCount(*row) for row in rows]


async def update_attempts(connection: Connection, counts: Sequence[AttemptCount]) -> None:
    await connection.execute(
        """
        UPDATE attempts SET failures = new.failures, last_at = new.last_at
        FROM unnest($1::bytea[], $2::integer[], $3::timestamptz[]) AS new (counter, failures, last_at)
        WHERE attempts.counter = new.counter
        """,
        [count.counter for count in counts],
        [count.failures for count in counts],
        [count.last_at for count in counts],
    )


async def delete_attempts(connection: Connection, counter: bytes) -> None:
    await connection.execute("DELETE FROM attempts WHERE counter = $1", counter)


async def uncount_attempt(connection: Connection, counter: bytes) -> None:
    await connection.execute(
        "UPDATE attempts SET failures = failures - 1 WHERE counter = $1 AND failures > 0", counter
    )


async def delete_expired_attempts(connection: Connection, before: datetime, most: int) -> int:
    """Delete counters last used before `before`, and the oldest beyond `most`. Returns the count."""
    tag: str = await connection.execute(
        """
        DELETE FROM attempts WHERE last_at < $1
               OR last_at <= (SELECT last_at FROM attempts ORDER BY last_at DESC OFFSET $2 LIMIT 1)
        """,
        before,
        most,
    )
    return int(tag.split()[-1])


async def is_known_network(connection: Connection, user_id: int, network: str, since: datetime) -> bool:
    known: bool = await connection.fetchval(
        """
        SELECT EXISTS (SELECT FROM known_networks
                       WHERE user_id = $1 AND network = $2::text::cidr AND last_login >= $3)
        """,
        user_id,
        network,
        since,
    )
    return known


async def upsert_known_network(
    connection: Connection, user_id: int, network: str, now: datetime, most: int
) -> None:
    """Record a login from a network; keep only the `most` networks used last."""
    await connection.execute(
        """
        INSERT INTO known_networks VALUES ($1, $2::text::cidr, $3)
        ON CONFLICT (user_id, network) DO UPDATE SET last_login = greatest(known_networks.last_login, $3)
        """,
        user_id,
        network,
        now,
    )
    await connection.execute(
        """
        DELETE FROM known_networks WHERE user_id = $1 AND network IN (
            SELECT network FROM known_networks WHERE user_id = $1 ORDER BY last_login DESC OFFSET $2)
        """,
        user_id,
        most,
    )


async def delete_other_networks(connection: Connection, user_id: int, keep: str) -> None:
    await connection.execute(
        "DELETE FROM known_networks WHERE user_id = $1 AND network <> $2::text::cidr", user_id, keep
    )
