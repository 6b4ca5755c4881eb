"""`tradefleet analytics rebuild`: recomputed from the facts alone, days are the same to the last digit."""

import asyncio
import json
from collections.abc import Callable

import asyncpg
import pytest
from click.testing import CliRunner, Result

from cli.analytics import analytics
from services.analytics.operations.days import compute_stale_days
from services.analytics.operations.rebuild import iterate_users, rebuild_user
from shared.chassis.postgres import Database
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.integration.analytics.conftest import (
    consume,
    session_started,
    session_stopped,
    trade_closed,
    user_registered,
)
from tests.integration.analytics.test_facts import some_trades

Run = Callable[..., "asyncio.Future[Result]"]


@pytest.fixture
def run_rebuild(service_env: Callable[[str], dict[str, str]]) -> Run:
    """Run the command with analytics' environment, as an operator does."""

    def run(*words: str) -> "asyncio.Future[Result]":
        runner, env = CliRunner(), service_env("analytics")
        return asyncio.ensure_future(asyncio.to_thread(runner.invoke, analytics, ["rebuild", *words], env=env))

    return run


async def list_rows(database: Database, *users: int) -> list[tuple[str, ...]]:
    """Return every column of the users' days, as text."""
    async with database.tenants(users) as connection:
        await compute_stale_days(connection, users)
        rows = await connection.fetch("SELECT t::text FROM user_daily_performance t ORDER BY user_id, mode, date")
    return [tuple(row) for row in rows]


async def fill(database: Database) -> None:
    session = new_id()
    await consume(database, user_registered(1, "Europe/Rome"), user_registered(2), user_registered(3))
    await consume(
        database, session_started(1, "2026-01-03 12:00", "5000.10", session), session_started(2, "2026-01-01 00:00")
    )
    await consume(database, *some_trades(1, 80), *some_trades(2, 20, seed=2))
    await consume(database, session_stopped(1, "2026-02-20 12:00", "5000", session))
    await consume(database, trade_closed(1, "2026-03-01 00:00", "7", paper=False))


async def test_corrupted_rows_are_restored_in_every_column(
    database: Database, database_access: DatabaseAccess, run_rebuild: Run
) -> None:
    await fill(database)
    before = await list_rows(database, 1, 2)
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(
        """
        SET search_path = analytics;
        UPDATE user_daily_performance SET daily_pnl = daily_pnl + 0.00000001, data = '{"version": 1}',
            sharpe_ratio = 7, timezone = 'UTC', volatility = NULL, starting_balance = 0 WHERE user_id = 1;
        UPDATE user_daily_performance SET date = date + 1000 WHERE user_id = 2;
        INSERT INTO user_daily_performance (user_id, mode, date, timezone, starting_balance, ending_balance,
            daily_pnl, total_trades, winning_trades, losing_trades)
            VALUES (3, 'LIVE', '2020-01-01', 'UTC', 1, 1, 1, 1, 1, 0);
        """
    )
    corrupted = await list_rows(database, 1, 2)
    assert not set(corrupted) & set(before)
    done = json.loads((await run_rebuild("--all", "--json")).stdout)
    after = await list_rows(database, 1)
    assert after == [row for row in before if row[0].startswith("(1,")]
    assert len(await list_rows(database, 2)) == len(before) - len(after)
    assert await list_rows(database, 3) == []
    assert (done["users"], done["trades"], done["days"]) == (3, 101, len(before))
    # Moved rows count twice, as removed and as written.
    assert done["changed"] == len(before) + len(before) - len(after) + 1
    assert json.loads((await run_rebuild("--all", "--json")).stdout)["changed"] == 0
    await owner.close()


async def test_one_user_is_found_by_email(database: Database, run_rebuild: Run) -> None:
    await fill(database)
    result = await run_rebuild("--email", " 2@Example.ORG")
    assert result.exit_code == 0, result.output
    assert "of 1 users from 20 trades; 0 of them were wrong" in result.stdout
    unknown = await run_rebuild("--email", "nobody@example.org")
    assert (unknown.exit_code, unknown.stderr) == (2, 'tradefleet: no user is registered as "nobody@example.org"\n')


@pytest.mark.parametrize("words", [(), ("--all", "--email", "x@example.org"), ("--some",)])
async def test_ambiguous_options_are_a_one_line_error(run_rebuild: Run, words: tuple[str, ...]) -> None:
    result = await run_rebuild(*words)
    assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1)


async def test_a_concurrent_reader_sees_no_partial_rebuild(database: Database) -> None:
    await fill(database)
    whole = await list_rows(database, 1)
    reading = True
    torn = []

    async def read() -> None:
        while reading:
            if (seen := await list_rows(database, 1)) != whole:
                torn.append(seen)

    reader = asyncio.create_task(read())
    for _ in range(10):
        await rebuild_user(database, 1)
    reading = False
    await reader
    assert torn == []


async def test_every_user_is_visited_once(database: Database) -> None:
    await consume(database, *(trade_closed(user_id, "2026-01-01 10:00", "1") for user_id in (5, 3, 900)))
    assert [user_id async for user_id in iterate_users(database)] == [3, 5, 900]
