"""The 80 and 100 % thresholds of a limit are published once per meter and period."""

from datetime import timedelta

from services.billing.domain import Change
from services.billing.operations.subscriptions import change_plan, process_deadlines
from services.billing.operations.usage import book_usage
from shared.chassis.postgres import Database
from shared.contracts.billing import UsageThreshold
from stack.migrate import DatabaseAccess
from tests.integration.billing.conftest import NOW, begin, closed_event, set_daily_limit
from tests.integration.billing.usage_events import book, used_event

A_MONTH_ON = NOW + timedelta(days=32)


async def _published(database: Database) -> list[UsageThreshold]:
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT payload FROM outbox WHERE topic = 'usage.threshold' ORDER BY id")
    return [UsageThreshold.model_validate_json(row["payload"]) for row in rows]


async def _trade(database: Database, count: int, later: timedelta = timedelta()) -> None:
    events = [closed_event(1, NOW + later) for _ in range(count)]
    async with database.tenants([1]) as connection:
        await book_usage(connection, events, NOW + later)


async def test_trades_of_a_period_publish_each_threshold_once(database: Database) -> None:
    await begin(database, 1)
    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("FREE", "ACTIVE", "granted"), NOW)
    for count in (7, 1, 1, 1, 5):
        await _trade(database, count)
    thresholds = await _published(database)
    assert [(each.meter, each.percent, each.used, each.limit) for each in thresholds] == [
        ("trades", 80, 8, 10),
        ("trades", 100, 10, 10),
    ]
    assert [each.aggregate_seq for each in thresholds] == [1, 2]
    assert len({each.aggregate for each in thresholds}) == 1


async def test_a_new_period_publishes_the_thresholds_again(database: Database) -> None:
    await begin(database, 1)
    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("FREE", "ACTIVE", "granted"), NOW)
    await _trade(database, 8)
    assert await process_deadlines(database, A_MONTH_ON) == 1
    await _trade(database, 8, A_MONTH_ON - NOW)
    first, second = await _published(database)
    assert (first.percent, second.percent) == (80, 80)
    assert first.period_end == second.period_start


async def test_requests_that_pass_both_thresholds_publish_both_in_order(
    database: Database, database_access: DatabaseAccess
) -> None:
    await begin(database, 1)
    await set_daily_limit(database_access.owner_dsn, "PREMIUM", 100)
    await book(database, used_event(79))
    assert await _published(database) == []
    await book(database, used_event(30), used_event(1))
    await book(database, used_event(30))
    thresholds = await _published(database)
    assert [(each.meter, each.percent, each.used) for each in thresholds] == [
        ("api_requests", 80, 110),
        ("api_requests", 100, 110),
    ]
    assert thresholds[0].period_end - thresholds[0].period_start == timedelta(days=1)


async def test_an_unlimited_meter_has_no_threshold(database: Database) -> None:
    await begin(database, 1)
    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("PRO", "ACTIVE", "granted"), NOW)
    await _trade(database, 50)
    await book(database, used_event(5_000))
    assert await _published(database) == []
