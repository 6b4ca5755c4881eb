"""No reader sees days that lack a stored fact, even if a process dies or waits for a lock meanwhile."""

import asyncio
import json
import random
from decimal import Decimal
from uuid import UUID

import asyncpg
import pytest

from services.analytics.consumers import on_trade_closed
from services.analytics.jobs import USERS_AT_ONCE, days
from services.analytics.operations.days import (
    compute_days_of_users,
    compute_stale_days,
    fresh_days,
    list_stale_users,
    rebuild_days,
)
from shared.chassis.postgres import Database
from shared.contracts.envelope import NOBODY, Event
from shared.contracts.trading import TradeClosed
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import (
    Platform,
    consume,
    session_started,
    session_stopped,
    trade_closed,
    user_registered,
)
from tests.integration.analytics.test_exports import fetch
from tests.integration.analytics.test_facts import days_of, some_trades
from tests.isolation.world import captured_log
from tests.pace import patient

PERFORMANCE = "/v1/performance"


@pytest.fixture
def roles() -> frozenset[str]:
    """Without jobs, so that nothing but a request computes days."""
    return frozenset({"http"})


async def stored_pnls(database: Database, user_id: int) -> list[Decimal]:
    """Return the pnl of the days as they are stored, stale or not."""
    async with database.tenant(user_id) as connection:
        rows = await connection.fetch("SELECT daily_pnl FROM user_daily_performance ORDER BY date")
    return [row["daily_pnl"] for row in rows]


async def marked_users(database: Database) -> set[int]:
    async with database.queue() as connection:
        return {row["user_id"] for row in await connection.fetch("SELECT user_id FROM stale_days")}


async def compute_all(database: Database) -> None:
    await compute_days_of_users(database, await list_stale_users(database, NOBODY, 1_000))


async def test_the_job_computes_the_days_of_all_users_in_blocks(database: Database) -> None:
    users = range(1, 2 * USERS_AT_ONCE + 8)
    await consume(database, *(trade_closed(user_id, "2026-01-01 10:00", "1") for user_id in users))
    assert await stored_pnls(database, 5) == []
    stop = asyncio.Event()
    working = asyncio.create_task(days(database).run(stop))
    await eventually(lambda: marked_users(database), lambda marked: not marked)
    stop.set()
    await working
    for user_id in (1, USERS_AT_ONCE, USERS_AT_ONCE + 1, users[-1]):
        assert await stored_pnls(database, user_id) == [1]


async def test_every_way_of_reading_days_includes_the_facts_stored_before(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.consume(user_registered(1, "Europe/Rome"))
    calendar = f"{PERFORMANCE}/calendar?year=2026&from=2026-01-02&to=2026-01-02"
    for number, path in enumerate((f"{PERFORMANCE}/daily", calendar, "what=days") * 2, 1):
        await platform.consume(trade_closed(1, "2026-01-02 10:00", "1"))
        if path == "what=days":
            _, rows = await fetch(platform, ann, path)
            assert [row["pnl"] for row in rows] == [str(number)]
        elif path == calendar:
            months = (await platform.get(path, ann)).body["months"]
            assert isinstance(months, list)
            assert months[0]["pnl"] == str(number)
        else:
            assert [day["pnl"] for day in await platform.every(path, ann)] == [str(number)]


async def test_a_file_of_days_includes_facts_that_are_stored_while_it_is_read(database: Database) -> None:
    async with fresh_days(database, 1):
        await consume(database, trade_closed(1, "2026-01-02 10:00", "1"))
    async with fresh_days(database, 1) as connection:
        assert await connection.fetchval("SELECT sum(daily_pnl) FROM user_daily_performance") == 1


async def test_days_computed_now_and_then_are_those_computed_at_once(database: Database) -> None:
    session = new_id()
    events: list[Event] = [
        user_registered(1, "America/St_Johns"),
        session_started(1, "2026-01-10 12:00", "5000", session),
        session_stopped(1, "2026-02-20 12:00", "5000", session),
        user_registered(1, "Europe/Rome", 2),
        *some_trades(1, 60),
    ]
    for event in events:
        await consume(database, event)
    expected = await days_of(database, 1)
    assert len(expected) > 30
    draw = random.Random(11)
    for user_id in (2, 3, 4):
        shuffled = [one.model_copy(update={"user_id": user_id, "public_id": UUID(int=user_id)}) for one in events]
        draw.shuffle(shuffled)
        for event in shuffled:
            await consume(database, event)
            if draw.random() < 0.4:
                await compute_all(database)
        assert await days_of(database, user_id) == expected


async def test_after_a_crash_the_days_are_still_marked(database: Database) -> None:
    await consume(database, trade_closed(1, "2026-01-01 10:00", "1"))
    async with database.tenants([1]) as connection:
        await compute_stale_days(connection, [1])
        await connection.execute("ROLLBACK; BEGIN")  # as for a process that is killed before its commit
    assert await stored_pnls(database, 1) == []
    assert [day[4] for day in await days_of(database, 1)] == ["1"]


@pytest.mark.parametrize("is_marked", [False, True], ids=["first mark", "marked before"])
async def test_facts_that_are_committed_while_days_are_computed_are_not_lost(
    database: Database, is_marked: bool
) -> None:
    """Days that are already marked are computed after the commit; a first mark is left for the next round."""
    if is_marked:
        await consume(database, trade_closed(1, "2026-01-01 10:00", "1"))
    async with database.tenants([1]) as storing:
        await on_trade_closed(storing, [trade_closed(1, "2026-01-01 11:00", "10")])
        computing = asyncio.create_task(compute_all(database))
        await asyncio.wait([computing], timeout=0.3 if is_marked else patient(10))
        assert computing.done() != is_marked
    await computing
    assert await marked_users(database) == (set() if is_marked else {1})
    assert [day[4] for day in await days_of(database, 1)] == ["11" if is_marked else "10"]


async def test_facts_wait_for_a_transaction_that_computes_their_days_and_mark_them_again(
    database: Database,
) -> None:
    await consume(database, trade_closed(1, "2026-01-01 10:00", "1"))
    async with database.tenants([1]) as computing:
        await compute_stale_days(computing, [1])
        storing = asyncio.create_task(consume(database, trade_closed(1, "2026-01-01 11:00", "10")))
        await asyncio.sleep(0.3)
        assert not storing.done()
    await storing
    assert await marked_users(database) == {1}
    assert [day[4] for day in await days_of(database, 1)] == ["11"]


async def test_readers_job_and_consumers_at_once_agree_in_the_end(database: Database) -> None:
    trades = some_trades(1, 60)

    async def read() -> None:
        for _ in range(10):
            seen = {trade.trade_id for trade in stored}
            days = await days_of(database, 1)
            assert sum(int(str(day[6])) for day in days) >= len(seen)

    async def store() -> None:
        for trade in trades:
            await consume(database, trade)
            stored.append(trade)

    async def compute() -> None:
        for _ in range(20):
            await compute_all(database)

    stored: list[TradeClosed] = []
    await asyncio.gather(store(), read(), read(), compute(), compute())
    together = await days_of(database, 1)
    async with database.tenants([1]) as connection:
        assert (await rebuild_days(connection, [1])).changed == 0
    assert await days_of(database, 1) == together
    assert sum(Decimal(str(day[4])) for day in together) == sum(trade.pnl for trade in trades)


async def test_a_user_whose_days_fail_does_not_stop_the_others(
    database: Database, database_access: DatabaseAccess
) -> None:
    await consume(database, *(trade_closed(user_id, "2026-01-01 10:00", "1") for user_id in (1, 2, 3, 4)))
    await consume(database, trade_closed(3, "2026-01-01 11:00", "-1"))
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute("UPDATE analytics.trade_facts SET pnl = pnl * 'Infinity' WHERE user_id = 3")  # no sum
    await owner.close()
    async with captured_log() as log:
        await compute_all(database)
    errors = [line for line in map(json.loads, log.getvalue().splitlines()) if line["level"] == "error"]
    assert [(line["event"], line["user_id"]) for line in errors] == [("days_not_computed", 3)]
    assert [await stored_pnls(database, user_id) for user_id in (1, 2, 3, 4)] == [[1], [1], [], [1]]
    assert await marked_users(database) == {3}


async def test_trades_at_the_ends_of_the_calendar_have_days(database: Database) -> None:
    await consume(database, user_registered(1, "Pacific/Kiritimati"), user_registered(2, "America/Los_Angeles"))
    for user_id in (1, 2):
        await consume(
            database, *(trade_closed(user_id, f"{day} 00:00", "1") for day in ("0001-01-03", "9999-12-29"))
        )
        assert [day[4] for day in await days_of(database, user_id)] == ["1", "1"]


class TestWithTheJob:
    @pytest.fixture
    def roles(self) -> frozenset[str]:
        return frozenset({"jobs"})

    async def test_the_service_computes_days_by_itself(self, platform: Platform) -> None:
        await platform.consume(trade_closed(1, "2026-01-01 10:00", "1"))
        assert await eventually(lambda: stored_pnls(platform.database, 1), lambda pnls: pnls == [1]) == [1]
