"""The catalogue: versions of plans, without a tenant."""

import asyncpg

from services.billing.domain import Plan, PlanTerms
from shared.chassis.postgres import Connection
from shared.contracts.billing import Features, Limits, PlanName

COLUMNS = """plan_id, name, version, is_active, display_name, description, price_monthly, price_yearly,
    max_trades_per_month, max_active_strategies, max_symbols, daily_api_requests, max_backtests_per_day,
    max_running_sessions, max_stored_strategies, has_advanced_ai, has_api_access, has_backtesting,
    has_telegram_alerts, has_priority_support, stripe_price_id_monthly, stripe_price_id_yearly, created_at"""


async def list_plans(connection: Connection) -> list[Plan]:
    """Return the active plans, cheapest first."""
    rows = await connection.fetch(
        f"SELECT {COLUMNS} FROM subscription_plans WHERE is_active ORDER BY price_monthly, plan_id"
    )
    return [_plan(row) for row in rows]


async def list_versions(connection: asyncpg.Connection) -> list[Plan]:
    """Return every version of every plan."""
    rows = await connection.fetch(f"SELECT {COLUMNS} FROM subscription_plans ORDER BY name, version")
    return [_plan(row) for row in rows]


async def get_plan(connection: Connection, name: PlanName) -> Plan:
    """Return the active version, which new subscribers get."""
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM subscription_plans WHERE name = $1 AND is_active", name)
    assert row is not None, f"the catalogue has no plan {name}"
    return _plan(row)


async def get_version(connection: Connection, plan_id: int) -> Plan:
    row = await connection.fetchrow(f"SELECT {COLUMNS} FROM subscription_plans WHERE plan_id = $1", plan_id)
    assert row is not None, f"the catalogue has no plan {plan_id}"
    return _plan(row)


async def lock_latest(connection: asyncpg.Connection, name: PlanName) -> Plan | None:
    """Return the newest version of a plan; concurrent publishers wait. For the owner of the schema."""
    await connection.execute("LOCK TABLE subscription_plans IN SHARE ROW EXCLUSIVE MODE")
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM subscription_plans WHERE name = $1 ORDER BY version DESC LIMIT 1", name
    )
    return None if row is None else _plan(row)


async def insert_version(connection: asyncpg.Connection, terms: PlanTerms, version: int) -> Plan:
    """Insert a version and make it the active one. For the owner of the schema."""
    await connection.execute(
        "UPDATE subscription_plans SET is_active = false WHERE name = $1 AND is_active", terms.name
    )
    limits, features = terms.limits, terms.features
    row = await connection.fetchrow(
        f"""
        INSERT INTO subscription_plans
            (name, version, display_name, description, price_monthly, price_yearly, max_trades_per_month,
             max_active_strategies, max_symbols, daily_api_requests, max_backtests_per_day, max_running_sessions,
             max_stored_strategies, has_advanced_ai, has_api_access, has_backtesting, has_telegram_alerts,
             has_priority_support, stripe_price_id_monthly, stripe_price_id_yearly)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20)
        RETURNING {COLUMNS}
        """,
        *(terms.name, version, terms.display_name, terms.description, terms.price_monthly, terms.price_yearly),
        *(limits.max_trades_per_month, limits.max_active_strategies, limits.max_symbols),
        *(limits.daily_api_requests, limits.max_backtests_per_day),
        *(limits.max_running_sessions, limits.max_stored_strategies),
        *(features.advanced_ai, features.api_access, features.backtesting),
        *(features.telegram_alerts, features.priority_support),
        *(terms.stripe_price_id_monthly, terms.stripe_price_id_yearly),
    )
    return _plan(row)


def _plan(row: asyncpg.Record) -> Plan:
    terms = PlanTerms(
        name=row["name"],
        display_name=row["display_name"],
        description=row["description"],
        price_monthly=row["price_monthly"],
        price_yearly=row["price_yearly"],
        stripe_price_id_monthly=row["stripe_price_id_monthly"],
        stripe_price_id_yearly=row["stripe_price_id_yearly"],
        limits=Limits(
            max_trades_per_month=row["max_trades_per_month"],
            max_active_strategies=row["max_active_strategies"],
            max_symbols=row["max_symbols"],
            daily_api_requests=row["daily_api_requests"],
            max_backtests_per_day=row["max_backtests_per_day"],
            max_running_sessions=row["max_running_sessions"],
            max_stored_strategies=row["max_stored_strategies"],
        ),
        features=Features(
            advanced_ai=row["has_advanced_ai"],
            api_access=row["has_api_access"],
            backtesting=row["has_backtesting"],
            telegram_alerts=row["has_telegram_alerts"],
            priority_support=row["has_priority_support"],
        ),
    )
    return Plan(row["plan_id"], row["version"], row["is_active"], row["created_at"], terms)
