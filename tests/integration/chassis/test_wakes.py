"""A commit that fills a queue wakes the loop that reads it; the queue is read by its indexes."""

import asyncio

import asyncpg
import pytest

from shared.chassis.events import relay
from shared.chassis.events.outbox import BUCKETS, emit
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.catalog import HALTING
from shared.market.demand import delete_demand, insert_demand
from stack.migrate import DatabaseAccess
from tests.integration.chassis.conftest import public_id_of, user_registered
from tests.pace import patient

NEVER_S = 600.0
SENT = """
    INSERT INTO analytics.outbox (user_id, bucket, event_id, topic, key, headers, payload, sent_at)
    SELECT n, n % 8, uuidv7(), 'usage.recorded', n::text,
           '{"ce_source": "analytics", "ce_type": "usage.recorded"}', 'x', CASE WHEN n > 10 THEN now() END
    FROM generate_series(1, 5000) AS n
"""


async def test_a_commit_with_events_wakes_the_relay(database: Database) -> None:
    waiting = asyncio.create_task(database.until_filled("outbox", asyncio.Event(), NEVER_S))
    async with database.tenant(1) as connection:
        await emit(connection, user_registered(1))
        assert not waiting.done()
    async with asyncio.timeout(patient(5)):
        await waiting


async def test_events_committed_before_the_wait_end_it_once(database: Database) -> None:
    async with database.tenant(1) as connection:
        await emit(connection, user_registered(1))
    async with asyncio.timeout(patient(5)):
        await database.until_filled("outbox", asyncio.Event(), NEVER_S)
    await _assert_asleep(database)


async def test_a_transaction_without_events_or_rolled_back_wakes_nobody(database: Database) -> None:
    with pytest.raises(ValueError, match="changed my mind"):
        await _emit_and_fail(database)
    for _ in range(3):  # also on the connection of the failed one
        async with database.tenant(1) as connection:
            await connection.execute("SELECT 1")
    await _assert_asleep(database)


async def _emit_and_fail(database: Database) -> None:
    async with database.tenant(1) as connection:
        await emit(connection, user_registered(1))
        raise ValueError("changed my mind")


async def _assert_asleep(database: Database) -> None:
    waiting = asyncio.create_task(database.until_filled("outbox", asyncio.Event(), NEVER_S))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    waiting.cancel()


async def test_stopping_ends_the_wait(database: Database) -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(database.until_filled("outbox", stop, NEVER_S))
    stop.set()
    async with asyncio.timeout(patient(5)):
        await waiting


async def test_a_queue_filled_by_other_processes_is_read_at_the_interval(database: Database) -> None:
    async with asyncio.timeout(patient(5)):
        await database.until_filled("outbox", asyncio.Event(), 0.01)


@pytest.mark.parametrize("begins", [True, False])
async def test_a_changed_demand_wakes_its_publisher(database: Database, *, begins: bool) -> None:
    async with database.tenant(1) as connection:
        if begins:
            await insert_demand(connection, 1, public_id_of(1), "BTCUSDT", "15")
        else:
            await delete_demand(connection, 1, public_id_of(1))
    async with asyncio.timeout(patient(5)):
        await database.until_filled("demand", asyncio.Event(), NEVER_S)


async def test_a_setting_of_one_transaction_does_not_reach_the_next(settings: ServiceSettings) -> None:
    database = await Database.connect(settings.model_copy(update={"postgres_app_connections": 1}))
    async with database.tenant(1) as connection:
        await connection.execute("SET app.user_id = '2'")
    async with database.untenanted() as connection:
        assert not await connection.fetchval("SELECT current_setting('app.user_id', true)")
    await database.close()


async def test_a_queue_is_read_in_one_round_trip_and_what_follows_is_reset(settings: ServiceSettings) -> None:
    database = await Database.connect(settings.model_copy(update={"postgres_queue_connections": 1}))
    statements: list[str] = []
    async with database.queue() as connection:
        connection.add_query_logger(lambda query: statements.append(query.query))
    statements.clear()
    await database.fetch_from_queues("SELECT 1")
    assert statements == ["SELECT 1"]
    async with database.queue() as connection:
        await connection.execute("SET statement_timeout = '7s'")
    (row,) = await database.fetch_from_queues("SHOW statement_timeout")
    assert row["statement_timeout"] != "7s"
    await database.close()


@pytest.mark.parametrize(
    ("statement", "arguments"),
    [
        (relay.WAITING, [BUCKETS]),
        (relay.NEXT, [[1, 2], 5, list(HALTING)]),
        (relay.MARK, [[1, 2], list(range(20))]),
    ],
)
async def test_the_relay_reads_no_row_that_was_sent_before(
    database: Database, database_access: DatabaseAccess, statement: str, arguments: list[object]
) -> None:
    """Whatever the statistics are: those of a queue are taken when it is empty, or full."""
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(SENT)
    await owner.execute("ANALYZE analytics.outbox")
    await owner.close()
    async with database.queue_by_index() as connection:
        plan = "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {statement}", *arguments))
    assert "Seq Scan" not in plan, plan
    assert "->  Sort" not in plan, plan
