"""Transactions are bound to their tenants, and the database refuses everything beyond."""

import asyncio
import random

import asyncpg
import pytest

from shared.chassis.identity import claim_users
from shared.chassis.postgres import Database
from shared.contracts.types import new_id
from tests.integration.chassis.conftest import user_registered


async def watch(database: Database, user_id: int) -> None:
    async with database.tenant(user_id) as connection:
        await connection.execute(
            "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES ($1, $2, 'A', '1', 5)",
            user_id,
            new_id(),
        )


async def test_a_tenant_sees_only_their_own_rows(database: Database) -> None:
    await watch(database, 1)
    await watch(database, 2)
    async with database.tenant(1) as connection:
        rows = await connection.fetch("SELECT user_id FROM watchlist")
    assert [row["user_id"] for row in rows] == [1]


async def test_without_a_tenant_no_rows_are_visible(database: Database) -> None:
    await watch(database, 1)
    async with database.untenanted() as connection:
        assert await connection.fetch("SELECT * FROM watchlist") == []


@pytest.mark.parametrize(
    "attack",
    [
        "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) "
        "VALUES (2, gen_random_uuid(), 'A', '1', 5)",
        "SET ROLE tradefleet_owner",
        "SET ROLE analytics_queue",
        "TRUNCATE watchlist",
        "SELECT * FROM user_locator",
        "SELECT * FROM billing.subscription_plans",
        "SELECT * FROM outbox",
        "SELECT * FROM outbox_other",
        "ALTER TABLE watchlist DISABLE ROW LEVEL SECURITY",
        "SELECT locate_user(gen_random_uuid(), 2)",
    ],
)
async def test_the_database_refuses_access_beyond_the_tenant(database: Database, attack: str) -> None:
    with pytest.raises(asyncpg.PostgresError):
        async with database.tenant(1) as connection:
            await connection.execute(attack)


async def test_row_security_cannot_be_switched_off(database: Database) -> None:
    await watch(database, 2)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenant(1) as connection:
            await connection.execute("SET LOCAL row_security = off; SELECT * FROM watchlist")


async def test_a_batch_writes_for_its_tenants_only(database: Database) -> None:
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        async with database.tenants([1]) as connection:
            await claim_users(connection, [user_registered(2)])


@pytest.mark.parametrize("tenant", ["1", True, 1.0, None])
async def test_a_tenant_is_an_int_and_nothing_else(database: Database, tenant: object) -> None:
    with pytest.raises(TypeError):
        async with database.tenant(tenant):  # type: ignore[arg-type]
            pass


async def test_a_cancelled_transaction_leaves_no_state_on_its_connection(database: Database) -> None:
    draw = random.Random(7)

    async def work(user_id: int) -> None:
        async with database.tenant(user_id) as connection:
            await connection.execute("SELECT pg_sleep(0.001)")
            seen = await connection.fetchval("SELECT current_setting('app.user_id')")
            assert seen == str(user_id)

    for round_ in range(60):
        tasks = [asyncio.create_task(work(user_id)) for user_id in range(1, 9)]
        await asyncio.sleep(draw.random() * 0.004)
        for task in tasks[round_ % 8 :: 2]:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(result is None or isinstance(result, asyncio.CancelledError) for result in results), results
    async with database.untenanted() as connection:
        assert await connection.fetchval("SELECT current_setting('app.user_id', true)") in (None, "")


async def test_connections_cut_by_the_server_are_replaced(database: Database, postgres: str) -> None:
    await asyncio.gather(*(watch(database, user_id) for user_id in range(1, 7)))
    admin = await asyncpg.connect(postgres)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename LIKE 'analytics_%' AND datname = $1",
        await _name(database),
    )
    await admin.close()
    async with database.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM watchlist") == 1


async def _name(database: Database) -> str:
    async with database.untenanted() as connection:
        name: str = await connection.fetchval("SELECT current_database()")
        return name
