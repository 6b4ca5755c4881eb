"""Claims and renewals of session leases, across tenants: as trading_queue, on session_leases and workers only."""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from services.trading.domain import Entries
from services.trading.queries.sessions import LEASE, SessionLease
from shared.chassis.postgres import Connection, Database

OF_LEASE = "l.user_id, l.session_id, l.epoch, l.allows AS entries, l.silent_since, l.waiting_for"


async def heartbeat(connection: Connection, worker: str) -> None:
    """Record that this worker is alive; delete workers that expired a minute ago."""
    await connection.execute("DELETE FROM workers WHERE expires_at < now() - interval '1 minute'")
    await connection.execute(
        """
        INSERT INTO workers (worker, expires_at) VALUES ($1, now() + $2)
        ON CONFLICT (worker) DO UPDATE SET expires_at = excluded.expires_at
        """,
        worker,
        LEASE,
    )


# Of what `list_held` returns, and of what is demanded of live sessions; it costs far less than reading thousands of
# leases.
HASH_HELD = """
    SELECT bit_xor(hash_record_extended((user_id, session_id, epoch, allows, silent_since, waiting_for, entries,
                                         flatten, frozen_answer), 0))
    FROM session_leases WHERE worker = $1 AND expires_at > now()
"""
SURVEY = f"""
    SELECT ceil((SELECT count(*) FROM session_leases)::numeric
                / greatest((SELECT count(*) FROM workers WHERE expires_at > now()), 1))::integer AS share,
           EXISTS (SELECT FROM session_leases WHERE worker IS NULL OR expires_at < now()) AS has_free,
           ({HASH_HELD}) AS held_hash
"""


class Survey(NamedTuple):
    """`share`: how many sessions each live worker should hold, rounded up; `held_hash`: the hash of HASH_HELD."""

    share: int
    has_free: bool
    held_hash: int | None


async def survey(database: Database, worker: str) -> Survey:
    """Look at the leases in one round trip: mostly there is nothing to do."""
    (row,) = await database.fetch_from_queues(SURVEY, worker)
    return Survey(*row)


async def claim(connection: Connection, worker: str, limit: int) -> list[SessionLease]:
    """Claim up to `limit` free or expired leases. Each claim raises the epoch."""
    rows = await connection.fetch(
        f"""
        UPDATE session_leases AS l SET worker = $1, epoch = l.epoch + 1, expires_at = now() + $2
        FROM (
            SELECT user_id, session_id, worker FROM session_leases
            WHERE worker IS NULL OR expires_at < now() ORDER BY created_at LIMIT $3 FOR UPDATE SKIP LOCKED
        ) AS free
        WHERE l.user_id = free.user_id AND l.session_id = free.session_id
        RETURNING {OF_LEASE}, free.worker IS NOT NULL AS taken_over
        """,
        worker,
        LEASE,
        limit,
    )
    return [SessionLease(**row) for row in rows]


async def renew(connection: Connection, worker: str) -> list[SessionLease]:
    """Renew this worker's unexpired leases, in one statement. Leases that are not returned are lost.

    They are locked in the order of their keys, as everywhere, to prevent deadlocks.
    """
    rows = await connection.fetch(
        f"""
        UPDATE session_leases AS l SET expires_at = now() + $2
        FROM (
            SELECT user_id, session_id FROM session_leases WHERE worker = $1 AND expires_at > now()
            ORDER BY user_id, session_id FOR NO KEY UPDATE
        ) AS mine
        WHERE l.user_id = mine.user_id AND l.session_id = mine.session_id
        RETURNING {OF_LEASE}
        """,
        worker,
        LEASE,
    )
    return [SessionLease(**row) for row in rows]


async def list_held(connection: Connection, worker: str) -> list[SessionLease]:
    """List this worker's leases as they are now, with what entries they allow."""
    rows = await connection.fetch(
        f"SELECT {OF_LEASE} FROM session_leases AS l WHERE worker = $1 AND expires_at > now()",
        worker,
    )
    return [SessionLease(**row) for row in rows]


async def hash_held(connection: Connection, worker: str) -> int | None:
    hashed: int | None = await connection.fetchval(HASH_HELD, worker)
    return hashed


async def lock_entries(connection: Connection, leases: Sequence[SessionLease]) -> set[UUID]:
    """Lock the leases still held under this epoch that allow the same entries, as trading_worker.

    Returns their sessions. Leases locked by a concurrent change are skipped.
    """
    rows = await connection.fetch(
        """
        SELECT l.session_id FROM session_leases AS l
        JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[])
             AS held (user_id, session_id, epoch, allows)
             USING (user_id, session_id, epoch, allows)
        FOR KEY SHARE OF l SKIP LOCKED
        """,
        [lease.user_id for lease in leases],
        [lease.session_id for lease in leases],
        [lease.epoch for lease in leases],
        [lease.entries for lease in leases],
    )
    return {row["session_id"] for row in rows}


async def lock_allowed(connection: Connection, leases: Sequence[SessionLease]) -> dict[UUID, Entries]:
    """Lock the leases still held under this epoch, in the order of their keys; returns what entries each allows."""
    rows = await connection.fetch(
        """
        SELECT l.session_id, l.allows FROM session_leases AS l
        JOIN unnest($1::bigint[], $2::uuid[], $3::bigint[]) AS held (user_id, session_id, epoch)
             USING (user_id, session_id, epoch)
        ORDER BY l.user_id, l.session_id FOR KEY SHARE OF l
        """,
        [lease.user_id for lease in leases],
        [lease.session_id for lease in leases],
        [lease.epoch for lease in leases],
    )
    return {row["session_id"]: row["allows"] for row in rows}


async def release(connection: Connection, worker: str, session_ids: Sequence[UUID] | None = None) -> None:
    """Release this worker's leases of these sessions, or all."""
    await connection.execute(
        """
        UPDATE session_leases SET worker = NULL, expires_at = NULL
        WHERE worker = $1 AND ($2::uuid[] IS NULL OR session_id = ANY ($2))
        """,
        worker,
        session_ids,
    )


async def delete_worker(connection: Connection, worker: str) -> None:
    await connection.execute("DELETE FROM workers WHERE worker = $1", worker)
