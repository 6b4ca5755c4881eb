"""Blocks of a day's requests that are leased to services, and refusals."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from services.billing.domain import Lease, QuotaRefusal, ReturnedLease
from shared.chassis.postgres import Connection


async def lock_day(connection: Connection, user_id: int, day: date, limit: int | None) -> tuple[int, bool]:
    """Lock the row of a user's day until the transaction ends. Returns requests used and whether it is new."""
    row = await connection.fetchrow(
        """
        INSERT INTO user_api_usage (user_id, date, daily_limit) VALUES ($1, $2, $3)
        ON CONFLICT (user_id, date) DO UPDATE SET daily_limit = excluded.daily_limit
        RETURNING total_requests, xmax = 0
        """,
        user_id,
        day,
        limit,
    )
    assert row is not None
    return row[0], row[1]


HELD = """
    SELECT coalesce(sum(CASE WHEN used IS NOT NULL THEN greatest(used - reported, 0)
                             WHEN expires_at > $3 THEN greatest(granted - reported, 0) ELSE 0 END), 0)
    FROM quota_leases WHERE user_id = $1 AND date = $2
"""


async def count_held(connection: Connection, user_id: int, day: date, now: datetime) -> int:
    """Return the requests held by leases of the day: those still usable, and those used but not yet reported."""
    held: int = await connection.fetchval(HELD, user_id, day, now)
    return held


async def insert_lease(connection: Connection, lease: Lease) -> None:
    await connection.execute(
        """
        INSERT INTO quota_leases (user_id, lease_id, date, service, granted, granted_at, expires_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        lease.user_id,
        lease.lease_id,
        lease.date,
        lease.service,
        lease.granted,
        lease.granted_at,
        lease.expires_at,
    )


async def update_returned(connection: Connection, blocks: Sequence[ReturnedLease]) -> None:
    """Store the use of returned blocks. Idempotent: only the first return of a block counts."""
    users, lease_ids = [block.user_id for block in blocks], [block.lease_id for block in blocks]
    await lock_leases(connection, users, lease_ids)
    await connection.execute(
        """
        UPDATE quota_leases q SET used = least(back.used, q.granted)
        FROM unnest($1::bigint[], $2::uuid[], $3::integer[]) AS back (user_id, lease_id, used)
        WHERE q.user_id = back.user_id AND q.lease_id = back.lease_id AND q.used IS NULL
        """,
        users,
        lease_ids,
        [block.used for block in blocks],
    )


async def lock_leases(connection: Connection, user_ids: Sequence[int], lease_ids: Sequence[UUID]) -> None:
    """Lock leases in a fixed order, so that transactions cannot deadlock."""
    await connection.execute(
        """
        SELECT FROM quota_leases
             JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (user_id, lease_id) USING (user_id, lease_id)
        ORDER BY user_id, lease_id FOR UPDATE OF quota_leases
        """,
        user_ids,
        lease_ids,
    )


async def delete_before(connection: Connection, user_id: int, leases: date, reports: date) -> None:
    """Delete leases, refusals and reports that no late report can refer to any more."""
    await connection.execute("DELETE FROM quota_leases WHERE user_id = $1 AND date < $2", user_id, leases)
    await connection.execute("DELETE FROM quota_refusals WHERE user_id = $1 AND date < $2", user_id, leases)
    await connection.execute("DELETE FROM api_usage_reports WHERE user_id = $1 AND date < $2", user_id, reports)


async def upsert_refusal(connection: Connection, user_id: int, day: date, refusal: QuotaRefusal) -> None:
    """Store the refusal; only the last one per operation, service and day is kept."""
    await connection.execute(
        """
        INSERT INTO quota_refusals (user_id, meter, date, service, operation, login_id, used, allowed, refused_at)
        VALUES ($1, 'api_requests', $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (user_id, meter, date, service, operation) DO UPDATE
        SET login_id = excluded.login_id, used = excluded.used, allowed = excluded.allowed,
            refused_at = excluded.refused_at
        """,
        user_id,
        day,
        refusal.service,
        refusal.operation,
        refusal.login_id,
        refusal.used,
        refusal.allowed,
        refusal.refused_at,
    )


async def list_refusals(connection: Connection, user_id: int, limit: int) -> list[QuotaRefusal]:
    """Return the refusals of requests, newest first."""
    rows = await connection.fetch(
        """
        SELECT service, operation, login_id, used, allowed, refused_at FROM quota_refusals
        WHERE user_id = $1 AND meter = 'api_requests' ORDER BY refused_at DESC LIMIT $2
        """,
        user_id,
        limit,
    )
    return [QuotaRefusal(*row) for row in rows]
