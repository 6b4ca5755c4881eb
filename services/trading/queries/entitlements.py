"""The limits of each tenant's plan, projected from billing's events."""

from collections.abc import Sequence
from uuid import UUID

from services.trading.domain import LIMITS_UNPUBLISHED, PlanLimits
from shared.chassis.postgres import Connection
from shared.contracts.billing import SubscriptionChanged


async def upsert_entitlements(connection: Connection, events: Sequence[SubscriptionChanged]) -> list[int]:
    """Apply each tenant's latest event if it is newer than the stored one. Returns the tenants that changed."""
    latest = {event.user_id: event for event in sorted(events, key=lambda event: event.subscription_version)}
    later_limits = [_later_limits(event) for event in latest.values()]
    rows = await connection.fetch(
        """
        INSERT INTO entitlements (user_id, public_id, subscription_version, plan, status,
                                  max_trades_per_month, max_active_strategies, max_symbols,
                                  has_backtesting, max_backtests_per_day, max_running_sessions,
                                  max_stored_strategies, period_start)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[],
                             $6::integer[], $7::integer[], $8::integer[], $9::boolean[], $10::integer[],
                             $11::integer[], $12::integer[], $13::timestamptz[])
        ON CONFLICT (user_id) DO UPDATE SET
            subscription_version = excluded.subscription_version, plan = excluded.plan, status = excluded.status,
            max_trades_per_month = excluded.max_trades_per_month,
            max_active_strategies = excluded.max_active_strategies, max_symbols = excluded.max_symbols,
            has_backtesting = excluded.has_backtesting, max_backtests_per_day = excluded.max_backtests_per_day,
            max_running_sessions = excluded.max_running_sessions,
            max_stored_strategies = excluded.max_stored_strategies, period_start = excluded.period_start
        WHERE entitlements.subscription_version < excluded.subscription_version
        RETURNING user_id
        """,
        [event.user_id for event in latest.values()],
        [event.public_id for event in latest.values()],
        [event.subscription_version for event in latest.values()],
        [event.plan for event in latest.values()],
        [event.status for event in latest.values()],
        [event.limits.max_trades_per_month for event in latest.values()],
        [event.limits.max_active_strategies for event in latest.values()],
        [event.limits.max_symbols for event in latest.values()],
        [event.features.backtesting for event in latest.values()],
        [event.limits.max_backtests_per_day for event in latest.values()],
        [running for running, _ in later_limits],
        [stored for _, stored in later_limits],
        [event.period_start for event in latest.values()],
    )
    return [row["user_id"] for row in rows]


def _later_limits(event: SubscriptionChanged) -> tuple[int | None, int | None]:
    """Return `max_running_sessions` and `max_stored_strategies`; older events do not have them, so the catalogue's
    limits apply."""
    limits, (running, stored) = event.limits, LIMITS_UNPUBLISHED[event.plan]
    return (
        limits.max_running_sessions if "max_running_sessions" in limits.model_fields_set else running,
        limits.max_stored_strategies if "max_stored_strategies" in limits.model_fields_set else stored,
    )


async def find_plan_limits(connection: Connection, user_id: int, *, lock: bool = False) -> PlanLimits | None:
    """Return the plan's limits. With `lock`, one tenant's sessions are started one after the other."""
    row = await connection.fetchrow(
        f"""
        SELECT plan, subscription_version AS version, max_active_strategies, max_symbols,
               max_running_sessions, max_stored_strategies
        FROM entitlements WHERE user_id = $1 {"FOR UPDATE" if lock else ""}
        """,
        user_id,
    )
    return PlanLimits(**row) if row else None


async def find_user(connection: Connection, public_id: UUID) -> int | None:
    """Return the tenant of a public id, as the owner; None if unknown."""
    user_id: int | None = await connection.fetchval(
        "SELECT user_id FROM entitlements WHERE public_id = $1", public_id
    )
    return user_id
