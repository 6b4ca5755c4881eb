"""Plan versions: a new version applies to new subscribers; existing ones keep theirs until an operator moves
them."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from decimal import Decimal

import asyncpg
import pytest

from services.billing.app import build
from services.billing.domain import Change, PlanTerms
from services.billing.operations import catalogue
from services.billing.operations.subscriptions import change_plan, process_deadlines
from services.billing.queries import plans, subscriptions
from shared.chassis.listing import Slice
from shared.chassis.postgres import Database
from shared.chassis.service import RunningService
from shared.contracts.types import from_ms
from shared.testing.api_client import open_client
from stack.migrate import DatabaseAccess
from tests.integration.accounts import billing_settings
from tests.integration.billing.conftest import NOW, begin, list_published

NO_HURRY = from_ms(4_000_000_000_000)


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_access.owner_dsn, server_settings={"search_path": "billing"})
    yield connection
    await connection.close()


async def _premium(database: Database) -> PlanTerms:
    async with database.untenanted() as connection:
        return (await plans.get_plan(connection, "PREMIUM")).terms


async def _publish_dearer(database: Database, owner: asyncpg.Connection) -> PlanTerms:
    terms = await _premium(database)
    dearer = replace(
        terms,
        price_monthly=Decimal("39.99"),
        stripe_price_id_monthly="price_1",
        limits=terms.limits.model_copy(update={"max_symbols": 20}),
    )
    done = await catalogue.publish_plan(owner, dearer)
    assert (done.changed, done.version) == (True, 2)
    return dearer


async def _move(database: Database, *, dry_run: bool = False) -> int:
    return sum([n async for n in catalogue.move_subscribers(database, "PREMIUM", NOW, dry_run=dry_run)])


async def test_new_subscribers_get_the_new_version_and_existing_ones_keep_theirs(
    database: Database, owner: asyncpg.Connection
) -> None:
    await begin(database, 1)
    dearer = await _publish_dearer(database, owner)
    await begin(database, 2)
    assert [event.limits.max_symbols for event in await list_published(database)] == [10, 20]
    assert await _premium(database) == dearer
    async with database.tenant(1) as connection:
        live = await subscriptions.find_live_subscription(connection, 1)
        assert live is not None
        assert (live.plan_version, (await plans.get_version(connection, live.plan_id)).limits.max_symbols) == (
            1,
            10,
        )


async def test_a_new_month_keeps_the_version(database: Database, owner: asyncpg.Connection) -> None:
    await begin(database, 1)
    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("PREMIUM", "ACTIVE", "granted"), NOW)
    await _publish_dearer(database, owner)
    assert await process_deadlines(database, NO_HURRY) == 1
    last = (await list_published(database))[-1]
    assert (last.reason, last.limits.max_symbols) == ("period_renewed", 10)


async def test_an_operator_moves_each_subscriber_once_and_keeps_period_and_trial(
    database: Database, owner: asyncpg.Connection
) -> None:
    for user_id in (1, 2, 3):
        await begin(database, user_id)
    async with database.tenant(3) as connection:
        await change_plan(connection, 3, Change("PRO", "ACTIVE", "granted"), NOW)
    await _publish_dearer(database, owner)
    assert await _move(database, dry_run=True) == 2
    assert await _move(database) == 2
    assert await _move(database) == 0
    first, moved = [event for event in await list_published(database) if event.user_id == 1]
    assert (moved.reason, moved.limits.max_symbols, moved.status) == ("plan_migrated", 20, "TRIAL")
    assert (moved.period_start, moved.period_end) == (first.period_start, first.period_end)
    assert moved.previous_plan == "PREMIUM"


async def test_unchanged_terms_and_a_dry_run_publish_nothing(database: Database, owner: asyncpg.Connection) -> None:
    terms = await _premium(database)
    assert not (await catalogue.publish_plan(owner, terms)).changed
    assert (await catalogue.publish_plan(owner, replace(terms, description="x"), dry_run=True)).changed
    assert await _premium(database) == terms


@pytest.mark.parametrize("role", ["app", "worker", "queue"])
async def test_no_service_role_may_change_the_catalogue(database_access: DatabaseAccess, role: str) -> None:
    connection = await asyncpg.connect(database_access.dsn(f"billing_{role}"))
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("UPDATE subscription_plans SET is_active = false")
    finally:
        await connection.close()


async def test_plan_changes_are_listed_in_order(database: Database, owner: asyncpg.Connection) -> None:
    await begin(database, 1)
    await _publish_dearer(database, owner)
    await _move(database)
    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("FREE", "ACTIVE", "trial_ended"), NOW)
        changes = await subscriptions.list_changes(
            connection, 1, Slice(subscriptions.CHANGE_ORDERS["created_at"], 10)
        )
    assert [(each.plan, each.plan_version, each.reason) for each in changes] == [
        ("PREMIUM", 1, "trial_started"),
        ("PREMIUM", 2, "plan_migrated"),
        ("FREE", 1, "trial_ended"),
    ]
    assert [(each.previous_plan, each.previous_plan_version) for each in changes] == [
        (None, None),
        ("PREMIUM", 1),
        ("PREMIUM", 2),
    ]


async def test_the_catalogue_has_an_etag_that_changes_with_it(
    service_env: Callable[[str], dict[str, str]], database: Database, owner: asyncpg.Connection
) -> None:
    settings = billing_settings(service_env("billing"))
    async with RunningService(build, settings, {"http"}) as billing, open_client(billing.url) as client:
        first = await client.call("GET", "/v1/plans")
        tag = first.headers["ETag"]
        assert (await client.call("GET", "/v1/plans", If_None_Match=tag)).status == 304
        await _publish_dearer(database, owner)
        again = await client.call("GET", "/v1/plans", If_None_Match=tag)
    assert again.status == 200
    items = {plan["plan"]: plan for plan in again.body["items"]}
    assert (items["PREMIUM"]["plan_version"], items["PREMIUM"]["price_monthly"]) == (2, "39.99")
    assert [*items] == ["FREE", "PREMIUM", "PRO"]
