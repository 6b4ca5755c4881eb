"""Subscribers, their subscriptions, plan changes and deadlines."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

import asyncpg

from services.billing.domain import Change, Period, Plan, PlanChange, Subscriber, Subscription
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionStatus
from shared.contracts.types import new_id


async def insert_subscriber(connection: Connection, user_id: int, public_id: UUID) -> None:
    await connection.execute(
        "INSERT INTO subscribers (user_id, public_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        user_id,
        public_id,
    )


async def lock_subscriber(connection: Connection, user_id: int) -> Subscriber | None:
    """Lock the aggregate's row until the transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT user_id, public_id, subscription_version, trial_started_at FROM subscribers
        WHERE user_id = $1 FOR UPDATE
        """,
        user_id,
    )
    return None if row is None else Subscriber(*row)


async def lock_subscribers(connection: Connection, user_ids: Sequence[int]) -> Mapping[int, UUID]:
    """Lock the rows of known users. Returns their public ids."""
    rows = await connection.fetch(
        "SELECT user_id, public_id FROM subscribers WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE", user_ids
    )
    return {row["user_id"]: row["public_id"] for row in rows}


async def update_subscriber(
    connection: Connection, user_id: int, version: int, trial_started_at: datetime | None
) -> None:
    await connection.execute(
        "UPDATE subscribers SET subscription_version = $2, trial_started_at = $3 WHERE user_id = $1",
        user_id,
        version,
        trial_started_at,
    )


async def get_version(connection: Connection, user_id: int) -> int:
    version: int = await connection.fetchval(
        "SELECT subscription_version FROM subscribers WHERE user_id = $1", user_id
    )
    return version


SUBSCRIPTION = """
    SELECT s.user_id, s.subscription_id, s.plan_id, p.name, p.version, s.status, s.start_date, s.trial_end_date,
           s.current_period_start, s.current_period_end
    FROM user_subscriptions s JOIN subscription_plans p USING (plan_id)
"""


async def find_live_subscription(connection: Connection, user_id: int) -> Subscription | None:
    row = await connection.fetchrow(
        f"{SUBSCRIPTION} WHERE s.user_id = $1 AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')", user_id
    )
    return None if row is None else _subscription(row)


async def find_last_subscription(connection: Connection, user_id: int) -> Subscription | None:
    """Return the live subscription, or the one that ended last."""
    row = await connection.fetchrow(
        f"{SUBSCRIPTION} WHERE s.user_id = $1 ORDER BY s.end_date DESC NULLS FIRST, s.start_date DESC LIMIT 1",
        user_id,
    )
    return None if row is None else _subscription(row)


def _subscription(row: asyncpg.Record) -> Subscription:
    return Subscription(
        user_id=row["user_id"],
        subscription_id=row["subscription_id"],
        plan_id=row["plan_id"],
        plan=row["name"],
        plan_version=row["version"],
        status=row["status"],
        start_date=row["start_date"],
        trial_end_date=row["trial_end_date"],
        period=Period(row["current_period_start"], row["current_period_end"]),
    )


async def update_ended(
    connection: Connection, subscription: Subscription, status: SubscriptionStatus, now: datetime
) -> None:
    await connection.execute(
        """
        UPDATE user_subscriptions SET status = $3, end_date = $4, next_billing_date = NULL
        WHERE user_id = $1 AND subscription_id = $2
        """,
        subscription.user_id,
        subscription.subscription_id,
        status,
        now,
    )


async def insert_subscription(
    connection: Connection, user_id: int, plan: Plan, change: Change, period: Period
) -> Subscription:
    """Insert a live subscription; trades already booked in its period are counted."""
    trial_end_date = period.end if change.status == "TRIAL" else None
    subscription_id = new_id()
    await connection.execute(
        """
        INSERT INTO user_subscriptions
            (user_id, subscription_id, plan_id, status, reason, start_date, trial_end_date,
             current_period_start, current_period_end, current_period_trades)
        SELECT $1, $2, $3, $4, $5, $6, $7, $6, $8, count(trade_id) FROM usage_ledger
        WHERE user_id = $1 AND occurred_at >= $6 AND occurred_at < $8
        """,
        user_id,
        subscription_id,
        plan.plan_id,
        change.status,
        change.reason,
        period.start,
        trial_end_date,
        period.end,
    )
    return Subscription(
        user_id,
        subscription_id,
        plan.plan_id,
        plan.name,
        plan.version,
        change.status,
        period.start,
        trial_end_date,
        period,
    )


async def update_plan(connection: Connection, subscription: Subscription, plan: Plan) -> None:
    """Move a subscription to another version of its plan."""
    await connection.execute(
        "UPDATE user_subscriptions SET plan_id = $3 WHERE user_id = $1 AND subscription_id = $2",
        subscription.user_id,
        subscription.subscription_id,
        plan.plan_id,
    )


async def insert_change(
    connection: Connection,
    number: int,
    subscription: Subscription,
    previous: Subscription | None,
    reason: str,
    now: datetime,
) -> None:
    await connection.execute(
        """
        INSERT INTO plan_changes (user_id, change_number, plan_id, previous_plan_id, status, reason, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        """,
        subscription.user_id,
        number,
        subscription.plan_id,
        None if previous is None else previous.plan_id,
        subscription.status,
        reason,
        now,
    )


CHANGE_ORDERS = {"created_at": Order(change_number=int)}


async def list_changes(connection: Connection, user_id: int, wanted: Slice) -> list[PlanChange]:
    rows = await connection.fetch(
        f"""
        SELECT c.change_number, p.name, p.version, b.name, b.version, c.status, c.reason, c.created_at
        FROM plan_changes c JOIN subscription_plans p USING (plan_id)
             LEFT JOIN subscription_plans b ON b.plan_id = c.previous_plan_id
        WHERE c.user_id = $1 {wanted.sql(2, "c")}
        """,
        user_id,
        *wanted.arguments,
    )
    return [PlanChange(*row) for row in rows]


async def update_period(connection: Connection, subscription: Subscription, period: Period) -> None:
    await connection.execute(
        """
        UPDATE user_subscriptions
        SET current_period_start = $3, current_period_end = $4,
            current_period_trades = (SELECT count(*) FROM usage_ledger
                                     WHERE user_id = $1 AND occurred_at >= $3 AND occurred_at < $4)
        WHERE user_id = $1 AND subscription_id = $2
        """,
        subscription.user_id,
        subscription.subscription_id,
        period.start,
        period.end,
    )


async def insert_deadline(connection: Connection, user_id: int, due_at: datetime) -> None:
    """Set when to process this user's subscription again; replaces the previous deadline."""
    await connection.execute(
        """
        INSERT INTO subscription_deadlines VALUES ($1, $2)
        ON CONFLICT (user_id) DO UPDATE SET due_at = excluded.due_at
        """,
        user_id,
        due_at,
    )


async def list_due(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Return users whose deadline has passed, oldest first. For the queue role."""
    rows = await connection.fetch(
        "SELECT user_id FROM subscription_deadlines WHERE due_at <= $1 ORDER BY due_at LIMIT $2", now, limit
    )
    return [row["user_id"] for row in rows]


async def list_subscribers(connection: Connection, after: int, limit: int) -> list[int]:
    """Return users with a subscription, by id. For the queue role, which sees them through their deadlines."""
    rows = await connection.fetch(
        "SELECT user_id FROM subscription_deadlines WHERE user_id > $1 ORDER BY user_id LIMIT $2", after, limit
    )
    return [row["user_id"] for row in rows]


async def locate_email(connection: Connection, email_sha256: bytes, claim: int | None = None) -> int | None:
    """Return the user who owns this e-mail. With `claim`, assign it to that user unless it has an owner."""
    owner: int | None = await connection.fetchval("SELECT locate_email($1, $2)", email_sha256, claim)
    return owner
