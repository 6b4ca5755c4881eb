"""A trial begins, ends, and is replaced by plans; every change publishes the whole entitlement."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from services.billing.domain import TRIAL, Change, Plan
from services.billing.operations.subscriptions import begin_subscription, change_plan, process_deadlines
from services.billing.queries import plans as catalogue
from services.billing.queries import subscriptions
from shared.chassis.postgres import Database
from shared.contracts.billing import PlanName, SubscriptionChanged
from tests.integration.billing.conftest import NOW, begin, list_published, registered_event

GRANT_PRO = Change("PRO", "ACTIVE", "granted")


async def _change(database: Database, user_id: int, change: Change) -> bool:
    async with database.tenant(user_id) as connection:
        return await change_plan(connection, user_id, change, NOW)


async def test_the_catalogue_matches_the_design(database: Database) -> None:
    async with database.untenanted() as connection:
        plans = {plan.name: plan for plan in await catalogue.list_plans(connection)}

    def numbers(plan: Plan) -> tuple[object, ...]:
        limits = plan.limits
        return (
            str(plan.terms.price_monthly),
            str(plan.terms.price_yearly),
            limits.max_trades_per_month,
            limits.max_active_strategies,
            limits.max_symbols,
        )

    assert numbers(plans["FREE"]) == ("0", "0", 10, 1, 1)
    assert numbers(plans["PREMIUM"]) == ("29.99", "299.90", 1000, 5, 10)
    assert numbers(plans["PRO"]) == ("99.99", "999.90", None, None, None)
    assert [name for name, plan in plans.items() if plan.features.api_access] == ["PRO"]
    assert [name for name, plan in plans.items() if plan.features.telegram_alerts] == ["PREMIUM", "PRO"]


async def test_a_new_user_has_premium_on_trial(database: Database) -> None:
    await begin(database, 1)
    (event,) = await list_published(database)
    assert (event.plan, event.status, event.subscription_version) == ("PREMIUM", "TRIAL", 1)
    assert (event.period_start, event.period_end) == (NOW, NOW + TRIAL)
    assert (event.limits.max_symbols, event.features.backtesting, event.previous_plan) == (10, True, None)


async def test_an_account_without_a_trial_starts_on_free(database: Database) -> None:
    event = registered_event(1, "ann@example.org").model_copy(update={"trial": False})
    async with database.tenants([1]) as connection:
        await begin_subscription(connection, event, NOW)
    (changed,) = await list_published(database)
    assert (changed.plan, changed.status, changed.reason) == ("FREE", "ACTIVE", "no_trial")


async def test_a_repeated_registration_event_starts_one_subscription(database: Database) -> None:
    event = registered_event(1, "ann@example.org")
    for _ in range(2):
        async with database.tenants([1]) as connection:
            await begin_subscription(connection, event, NOW)
    assert len(await list_published(database)) == 1


async def test_the_same_person_gets_no_second_trial(database: Database) -> None:
    await begin(database, 1, "ann@example.org")
    await begin(database, 2, "ANN@example.org")
    assert [(event.plan, event.status) for event in await list_published(database)] == [
        ("PREMIUM", "TRIAL"),
        ("FREE", "ACTIVE"),
    ]


async def test_an_ended_trial_changes_to_free(database: Database) -> None:
    await begin(database, 1)
    assert await process_deadlines(database, NOW + TRIAL - timedelta(microseconds=1)) == 0
    assert await process_deadlines(database, NOW + TRIAL) == 1
    last = (await list_published(database))[-1]
    assert (last.plan, last.status, last.reason, last.previous_plan) == (
        "FREE",
        "ACTIVE",
        "trial_ended",
        "PREMIUM",
    )
    async with database.tenant(1) as connection:
        statuses = await connection.fetch("SELECT status FROM user_subscriptions ORDER BY start_date")
    assert [row["status"] for row in statuses] == ["EXPIRED", "ACTIVE"]


async def test_two_concurrent_jobs_end_a_trial_once(database: Database) -> None:
    await begin(database, 1)
    await asyncio.gather(*(process_deadlines(database, NOW + TRIAL) for _ in range(4)))
    assert [event.subscription_version for event in await list_published(database)] == [1, 2]


async def test_months_follow_one_another_and_missed_ones_are_skipped(database: Database) -> None:
    await begin(database, 1)
    await _change(database, 1, GRANT_PRO)
    assert await process_deadlines(database, NOW + timedelta(days=70)) == 1
    assert await process_deadlines(database, NOW + timedelta(days=70)) == 0
    last = (await list_published(database))[-1]
    assert (last.plan, last.reason) == ("PRO", "period_renewed")
    assert last.period_start.date().isoformat() == "2026-03-31"


async def test_a_grant_replaces_the_trial(database: Database) -> None:
    await begin(database, 1)
    assert await _change(database, 1, GRANT_PRO)
    last = (await list_published(database))[-1]
    assert (last.plan, last.status, last.subscription_version) == ("PRO", "ACTIVE", 2)
    assert (last.previous_plan, last.limits.max_active_strategies) == ("PREMIUM", None)
    assert await process_deadlines(database, NOW + TRIAL) == 0


async def test_granting_the_current_plan_changes_nothing(database: Database) -> None:
    await begin(database, 1)
    assert await _change(database, 1, GRANT_PRO)
    assert not await _change(database, 1, GRANT_PRO)
    assert len(await list_published(database)) == 2


async def test_concurrent_changes_leave_one_live_subscription(database: Database) -> None:
    await begin(database, 1)
    names: list[PlanName] = ["FREE", "PREMIUM", "PRO", "FREE", "PREMIUM", "PRO"]
    await asyncio.gather(*(_change(database, 1, Change(name, "ACTIVE", "granted")) for name in names))
    events: list[SubscriptionChanged] = await list_published(database)
    assert [event.subscription_version for event in events] == list(range(1, len(events) + 1))
    async with database.tenant(1) as connection:
        live = await subscriptions.find_live_subscription(connection, 1)
    assert live is not None
    assert live.plan == events[-1].plan


async def test_a_grant_to_an_unknown_email_changes_nothing(database: Database) -> None:
    assert not await _change(database, 99, GRANT_PRO)


async def test_the_app_role_sees_no_other_tenant(database: Database) -> None:
    await begin(database, 1)
    await begin(database, 2)
    async with database.tenant(2) as connection:
        for table in ("subscribers", "user_subscriptions", "subscription_deadlines"):
            assert await connection.fetchval(f"SELECT count(*) FROM {table} WHERE user_id = 1") == 0
        assert await connection.execute("UPDATE user_subscriptions SET status = 'ACTIVE' WHERE user_id = 1") == (
            "UPDATE 0"
        )


@pytest.mark.parametrize(
    "attempt",
    [
        "SELECT * FROM email_locator",
        "SELECT locate_email('\\x00', 2)",
        "INSERT INTO usage_ledger VALUES (2, gen_random_uuid(), gen_random_uuid(), 'PAPER', now())",
        "UPDATE subscription_plans SET price_monthly = 0",
        "UPDATE user_subscriptions SET user_id = 1",
        "DELETE FROM user_subscriptions",
    ],
)
async def test_the_app_role_lacks_the_privilege(database: Database, attempt: str) -> None:
    await begin(database, 1)
    await begin(database, 2)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant(2) as connection:
            await connection.execute(attempt)


async def test_the_queue_role_sees_deadlines_and_nothing_of_the_subscriptions(database: Database) -> None:
    await begin(database, 1)
    async with database.queue() as connection:
        assert await connection.fetchval("SELECT count(*) FROM subscription_deadlines") == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.queue() as connection:
            await connection.execute("SELECT * FROM user_subscriptions")
