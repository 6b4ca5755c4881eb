"""Retention of analyses: plans as billing last published them, users that are due, and deletion."""

from collections.abc import Collection, Sequence
from datetime import datetime

from shared.chassis.postgres import Connection
from shared.contracts.billing import PlanName, SubscriptionChanged

DELETE_ANALYSES = """
    DELETE FROM user_market_analysis AS analysis USING (
        SELECT user_id, watch_id, timestamp FROM user_market_analysis
        WHERE user_id = ANY ($1::bigint[]) AND timestamp < $2 ORDER BY user_id, timestamp LIMIT $3
    ) AS old
    WHERE analysis.user_id = old.user_id AND analysis.watch_id = old.watch_id AND analysis.timestamp = old.timestamp
          AND analysis.timestamp < $2
"""


async def upsert_entitlements(
    connection: Connection, events: Sequence[SubscriptionChanged]
) -> dict[int, PlanName | None]:
    """Store plans; events older than the stored version are ignored. Returns previous plans of updated users."""
    latest = {event.user_id: event for event in sorted(events, key=lambda event: event.subscription_version)}
    rows = await connection.fetch(
        """
        INSERT INTO entitlements (user_id, subscription_version, plan)
        SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])
        ON CONFLICT (user_id) DO UPDATE
        SET subscription_version = excluded.subscription_version, plan = excluded.plan
        WHERE entitlements.subscription_version < excluded.subscription_version
        RETURNING user_id, old.plan AS before
        """,
        list(latest),
        [event.subscription_version for event in latest.values()],
        [event.plan for event in latest.values()],
    )
    return {row["user_id"]: row["before"] for row in rows}


async def list_plans(connection: Connection, users: Collection[int]) -> dict[int, PlanName]:
    rows = await connection.fetch(
        "SELECT user_id, plan FROM entitlements WHERE user_id = ANY ($1::bigint[])", list(users)
    )
    return {row["user_id"]: row["plan"] for row in rows}


async def insert_rounds(connection: Connection, users: Collection[int]) -> None:
    """Insert a round for each user who has none yet."""
    await connection.execute(
        "INSERT INTO user_rounds (user_id) SELECT unnest($1::bigint[]) ON CONFLICT DO NOTHING", sorted(users)
    )


async def upsert_rounds(connection: Connection, users: Collection[int], due_at: datetime) -> None:
    await connection.execute(
        """
        INSERT INTO user_rounds (user_id, retention_due_at) SELECT unnest($1::bigint[]), $2
        ON CONFLICT (user_id) DO UPDATE SET retention_due_at = excluded.retention_due_at
        """,
        sorted(users),
        due_at,
    )


async def list_due(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return the users due longest. Reads ids across tenants, so it needs the queue role."""
    rows = await connection.fetch(
        "SELECT user_id FROM user_rounds WHERE retention_due_at <= $1 ORDER BY retention_due_at LIMIT $2",
        now,
        limit,
    )
    return [row["user_id"] for row in rows]


async def delete_analyses(connection: Connection, users: Collection[int], before: datetime, limit: int) -> int:
    """Delete up to `limit` analyses of the users older than `before`. Returns the count."""
    done: str = await connection.execute(DELETE_ANALYSES, list(users), before, limit)
    return int(done.rpartition(" ")[2])
