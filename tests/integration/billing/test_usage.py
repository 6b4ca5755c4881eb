"""Usage is counted from a ledger in which each trade appears once."""

import asyncio
from datetime import timedelta

import asyncpg
import pytest

from services.billing.domain import TRIAL, Change, Period, Usage
from services.billing.operations.subscriptions import change_plan
from services.billing.operations.usage import book_usage
from services.billing.queries import usage as ledger
from shared.chassis.postgres import Database
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id
from tests.integration.accounts import eventually
from tests.integration.billing.conftest import NOW, begin, closed_event


async def _book(database: Database, *events: TradeClosed) -> None:
    async with database.tenants({event.user_id for event in events}) as connection:
        await book_usage(connection, events, NOW)


async def _shown(database: Database, user_id: int) -> int:
    async with database.tenant(user_id) as connection:
        shown: int = await connection.fetchval(
            "SELECT current_period_trades FROM user_subscriptions WHERE status IN ('ACTIVE', 'TRIAL')"
        )
    return shown


async def test_paper_and_live_are_counted_separately(database: Database) -> None:
    await begin(database, 1)
    await _book(database, closed_event(1, NOW), closed_event(1, NOW, paper=False), closed_event(1, NOW))
    async with database.tenant(1) as connection:
        usage = await ledger.count_usage(connection, 1, Period(NOW, NOW + TRIAL))
    assert usage == Usage(paper_trades=2, live_trades=1)
    assert await _shown(database, 1) == usage.trades == 3


async def test_a_trade_published_repeatedly_counts_once(database: Database) -> None:
    await begin(database, 1)
    trade = new_id()
    again = [closed_event(1, NOW, trade) for _ in range(50)]
    await _book(database, *again)
    await asyncio.gather(*(_book(database, event) for event in again[:10]))
    assert await _shown(database, 1) == 1


async def test_a_trade_counts_in_the_period_in_which_it_was_published(database: Database) -> None:
    await begin(database, 1)
    at_the_end = NOW + TRIAL
    await _book(
        database,
        closed_event(1, NOW - timedelta(microseconds=1)),
        closed_event(1, NOW),
        closed_event(1, at_the_end),
    )
    assert await _shown(database, 1) == 1


async def test_a_trade_may_arrive_before_the_user_is_known(database: Database) -> None:
    await _book(database, closed_event(1, NOW + timedelta(seconds=1)))
    await begin(database, 1)
    assert await _shown(database, 1) == 1


async def test_a_booking_waits_for_a_plan_change_and_counts_in_the_new_plan(database: Database) -> None:
    await begin(database, 1)

    async def waiting() -> int:
        async with database.untenanted() as connection:
            count: int = await connection.fetchval(
                """
                SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
                WHERE datname = current_database() AND locktype = 'tuple'
                """
            )
        return count

    async with database.tenant(1) as connection:
        await change_plan(connection, 1, Change("PRO", "ACTIVE", "granted"), NOW)
        booking = asyncio.create_task(_book(database, closed_event(1, NOW + timedelta(seconds=1))))
        await eventually(waiting, lambda count: count == 1)
    await booking
    assert await _shown(database, 1) == 1


async def test_a_batch_reaches_only_its_own_tenants(database: Database) -> None:
    await begin(database, 1)
    await begin(database, 2)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenants([2]) as connection:
            await book_usage(connection, [closed_event(1, NOW)], NOW)
    assert await _shown(database, 1) == 0


async def test_usage_is_counted_by_an_index_only_scan(database: Database) -> None:
    async with database.tenants([1]) as connection:
        await connection.execute(
            """
            INSERT INTO usage_ledger
            SELECT 1, gen_random_uuid(), gen_random_uuid(), 'PAPER', now() - make_interval(hours => n)
            FROM generate_series(1, 20000) n
            """
        )
    async with database.tenant(1) as connection:
        plan = await connection.fetch("EXPLAIN " + ledger.COUNT_USAGE, 1, NOW, NOW + timedelta(days=1))
    assert "usage_ledger_by_time" in str(plan)
