"""All SQL of billing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import asyncpg

from services.billing.domain import Change, Period, Plan, Subscriber, Subscription, Usage
from shared.chassis.postgres import Connection
from shared.contracts.billing import Features, Limits, PlanName, SubscriptionStatus
from shared.contracts.types import new_id


async def list_plans(connection: Connection) -> list[Plan]:
    rows = await connection.fetch("SELECT * FROM subscription_plans WHERE is_active ORDER BY price_monthly")
    return [_plan(row) for row in rows]


async def get_plan(connection: Connection, name: PlanName) -> Plan:
    row = await connection.fetchrow("SELECT * FROM subscription_plans WHERE name = $1", name)
    assert row is not None, f"the catalogue has no plan {name}"
    return _plan(row)


def _plan(row: asyncpg.Record) -> Plan:
    return Plan(
        plan_id=row["plan_id"],
        name=row["name"],
        display_name=row["display_name"],
        description=row["description"],
        price_monthly=row["price_monthly"],
        price_yearly=row["price_yearly"],
        version=row["version"],
        limits=Limits(
            max_trades_per_month=row["max_trades_per_month"],
            max_active_strategies=row["max_active_strategies"],
            max_symbols=row["max_symbols"],
            daily_api_requests=row["daily_api_requests"],
            max_backtests_per_day=row["max_backtests_per_day"],
        ),
        features=Features(
            advanced_ai=row["has_advanced_ai"],
            api_access=row["has_api_access"],
            backtesting=row["has_backtesting"],
            telegram_alerts=row["has_telegram_alerts"],
            priority_support=row["has_priority_support"],
        ),
    )


async def insert_subscriber(connection: Connection, user_id: int, public_id: UUID) -> None:
    await connection.execute(
        "INSERT INTO subscribers (user_id, public_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        user_id,
        public_id,
    )


async def lock_subscriber(connection: Connection, user_id: int) -> Subscriber | None:
    """The aggregate's row, held until the transaction ends."""
    row = await connection.fetchrow(
        """
        SELECT user_id, public_id, subscription_version, trial_started_at FROM subscribers
        WHERE user_id = $1 FOR UPDATE
        """,
        user_id,
    )
    return None if row is None else Subscriber(*row)


async def lock_subscribers(connection: Connection, user_ids: Sequence[int]) -> None:
    await connection.execute(
        "SELECT FROM subscribers WHERE user_id = ANY ($1) ORDER BY user_id FOR UPDATE", user_ids
    )


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


async def find_live_subscription(connection: Connection, user_id: int) -> Subscription | None:
    row = await connection.fetchrow(
        """
        SELECT s.subscription_id, p.name, s.status, s.start_date, s.trial_end_date,
               s.current_period_start, s.current_period_end
        FROM user_subscriptions s JOIN subscription_plans p USING (plan_id)
        WHERE s.user_id = $1 AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
        """,
        user_id,
    )
    if row is None:
        return None
    return Subscription(
        user_id=user_id,
        subscription_id=row["subscription_id"],
        plan=row["name"],
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
    """A live subscription; trades that already count in its period are counted."""
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
    return Subscription(user_id, subscription_id, plan.name, change.status, period.start, trial_end_date, period)


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
    """When to look at this user's subscription again; replaces the last one."""
    await connection.execute(
        """
        INSERT INTO subscription_deadlines VALUES ($1, $2)
        ON CONFLICT (user_id) DO UPDATE SET due_at = excluded.due_at
        """,
        user_id,
        due_at,
    )


async def list_due(connection: Connection, now: datetime, limit: int) -> list[int]:
    """Users whose deadline has passed, the oldest first. For the queue role."""
    rows = await connection.fetch(
        "SELECT user_id FROM subscription_deadlines WHERE due_at <= $1 ORDER BY due_at LIMIT $2", now, limit
    )
    return [row["user_id"] for row in rows]


async def locate_email(connection: Connection, email_sha256: bytes, claim: int | None = None) -> int | None:
    """Whose e-mail this is; with `claim`, the first to claim it owns it."""
    owner: int | None = await connection.fetchval("SELECT locate_email($1, $2)", email_sha256, claim)
    return owner


@dataclass(frozen=True)
class UsedTrade:
    user_id: int
    trade_id: UUID
    session_id: UUID
    mode: str
    occurred_at: datetime


async def insert_usage(connection: Connection, trades: Sequence[UsedTrade]) -> None:
    """A trade is booked once, however often it is said."""
    await connection.execute(
        """
        INSERT INTO usage_ledger (user_id, trade_id, session_id, mode, occurred_at)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[])
        ON CONFLICT DO NOTHING
        """,
        [trade.user_id for trade in trades],
        [trade.trade_id for trade in trades],
        [trade.session_id for trade in trades],
        [trade.mode for trade in trades],
        [trade.occurred_at for trade in trades],
    )


async def update_period_trades(connection: Connection, user_ids: Sequence[int]) -> None:
    """Count the ledger again for the running periods of these users."""
    await connection.execute(
        """
        UPDATE user_subscriptions s
        SET current_period_trades = (
            SELECT count(*) FROM usage_ledger l
            WHERE l.user_id = s.user_id
              AND l.occurred_at >= s.current_period_start AND l.occurred_at < s.current_period_end)
        WHERE s.user_id = ANY ($1) AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
        """,
        user_ids,
    )


COUNT_USAGE = """
    SELECT count(*) FILTER (WHERE mode = 'PAPER') AS paper, count(*) FILTER (WHERE mode = 'LIVE') AS live
    FROM usage_ledger WHERE user_id = $1 AND occurred_at >= $2 AND occurred_at < $3
"""


async def count_usage(connection: Connection, user_id: int, period: Period) -> Usage:
    row = await connection.fetchrow(COUNT_USAGE, user_id, period.start, period.end)
    assert row is not None
    return Usage(paper_trades=row["paper"], live_trades=row["live"])
