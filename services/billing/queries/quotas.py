"""The last published quota of each user, and refused requests."""

from collections.abc import Sequence
from datetime import date

from services.billing.domain import Quota, QuotaRefusal
from shared.chassis.postgres import Connection


async def find_quotas(connection: Connection, user_ids: Sequence[int]) -> dict[int, Quota]:
    """Return the last published quotas of those users who have one."""
    rows = await connection.fetch(
        "SELECT user_id, state, until, allowed, used FROM request_quotas WHERE user_id = ANY ($1)", user_ids
    )
    return {row["user_id"]: Quota(*row) for row in rows}


async def upsert_quotas(connection: Connection, quotas: Sequence[Quota]) -> dict[int, int]:
    """Store the quotas, each under its user's next version. Returns the versions by user."""
    rows = await connection.fetch(
        """
        INSERT INTO request_quotas AS q (user_id, version, state, until, allowed, used)
        SELECT user_id, 1, state, until, allowed, used
        FROM unnest($1::bigint[], $2::text[], $3::timestamptz[], $4::bigint[], $5::bigint[])
             AS quota (user_id, state, until, allowed, used)
        ORDER BY user_id
        ON CONFLICT (user_id) DO UPDATE
        SET version = q.version + 1, state = excluded.state, until = excluded.until, allowed = excluded.allowed,
            used = excluded.used
        RETURNING user_id, version
        """,
        [quota.user_id for quota in quotas],
        [quota.state for quota in quotas],
        [quota.until for quota in quotas],
        [quota.limit for quota in quotas],
        [quota.used for quota in quotas],
    )
    return {row["user_id"]: row["version"] for row in rows}


async def upsert_refusals(connection: Connection, refusals: Sequence[QuotaRefusal]) -> None:
    """Store refusals; only the last one per operation, service and day is kept."""
    last: dict[tuple[int, date, str, str], QuotaRefusal] = {}
    for each in sorted(refusals, key=lambda refusal: refusal.refused_at):
        last[each.user_id, each.date, each.service, each.operation] = each
    await connection.executemany(
        """
        INSERT INTO quota_refusals AS kept (user_id, meter, date, service, operation, login_id, used, allowed,
                                            refused_at)
        VALUES ($1, 'api_requests', $2, $3, $4, $5, $6, $7, $8)
        ON CONFLICT (user_id, meter, date, service, operation) DO UPDATE
        SET login_id = excluded.login_id, used = excluded.used, allowed = excluded.allowed,
            refused_at = excluded.refused_at
        WHERE kept.refused_at < excluded.refused_at
        """,
        [
            (
                each.user_id,
                each.date,
                each.service,
                each.operation,
                each.login_id,
                each.used,
                each.limit,
                each.refused_at,
            )
            for each in last.values()
        ],
    )


async def list_refusals(connection: Connection, user_id: int, limit: int) -> list[QuotaRefusal]:
    """Return the refusals of requests, newest first."""
    rows = await connection.fetch(
        """
        SELECT user_id, service, operation, login_id, used, allowed, refused_at FROM quota_refusals
        WHERE user_id = $1 AND meter = 'api_requests' ORDER BY refused_at DESC LIMIT $2
        """,
        user_id,
        limit,
    )
    return [QuotaRefusal(*row) for row in rows]


async def delete_before(connection: Connection, user_ids: Sequence[int], refusals: date, reports: date) -> None:
    """Delete these users' refusals and reports from before these days."""
    await connection.execute(
        "DELETE FROM quota_refusals WHERE user_id = ANY ($1) AND date < $2", user_ids, refusals
    )
    await connection.execute(
        "DELETE FROM api_usage_reports WHERE user_id = ANY ($1) AND date < $2", user_ids, reports
    )
