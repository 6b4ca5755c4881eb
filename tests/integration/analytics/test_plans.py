"""Hot queries use their indexes, on a filled database."""

from datetime import UTC, date, datetime
from typing import cast
from uuid import UUID

import asyncpg
import pytest

from services.analytics.queries import days, market
from services.analytics.queries.equity import LIST_EQUITY
from services.analytics.queries.exports import EXPORT_DAYS, EXPORT_TRADES
from services.analytics.queries.facts import EXITS_SINCE, LIST_TRADES, SUM_PNL
from services.analytics.queries.groups import LIST_BY_STRATEGY, LIST_BY_SYMBOL
from services.analytics.queries.retention import DELETE_ANALYSES
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import EARLIEST, LATEST
from stack.migrate import DatabaseAccess
from tests.plans import Recorder, explain

EARLY = datetime(2026, 1, 20, tzinfo=UTC)
LATE = datetime(2026, 3, 27, tzinfo=UTC)
FILL = """
    SET search_path = analytics;
    SELECT prepare_analysis_month('2026-01-01Z'), prepare_analysis_month('2026-02-01Z');
    INSERT INTO trade_facts
    SELECT u, gen_random_uuid(), gen_random_uuid(), 'PAPER', 'BTCUSDT', 'LONG', gen_random_uuid(), 'x', now(),
           '2026-01-01Z'::timestamptz + make_interval(mins => 40 * n), 1, 0, 'signal'
    FROM generate_series(1, 10) u, generate_series(1, 3000) n;
    INSERT INTO user_daily_performance (user_id, mode, date, timezone, starting_balance, ending_balance, daily_pnl,
                                        total_trades, winning_trades, losing_trades)
    SELECT u, 'PAPER', '2020-01-01'::date + n, 'UTC', 1, 1, 0, 1, 0, 0
    FROM generate_series(1, 20) u, generate_series(1, 1000) n;
    INSERT INTO user_market_analysis (user_id, watch_id, timestamp, symbol, interval, price, ema_period, volume)
    SELECT u, gen_random_uuid(), '2026-01-01Z'::timestamptz + make_interval(mins => 15 * n), 'BTCUSDT', '15', 1,
           20, 1
    FROM generate_series(1, 10) u, generate_series(1, 5000) n;
    ANALYZE trade_facts, user_daily_performance, user_market_analysis;
"""


@pytest.fixture
async def filled(database: Database, database_access: DatabaseAccess) -> Database:
    owner = await asyncpg.connect(database_access.owner_dsn)
    await owner.execute(FILL)
    await owner.close()
    return database


async def test_reads_use_their_indexes(filled: Database) -> None:
    reads: list[tuple[str, list[object], str]] = [
        (LIST_EQUITY[False], [1, "PAPER", EARLIEST, -1, UUID(int=0), LATEST, False, 51], "trade_facts_by_time"),
        (LIST_EQUITY[True], [1, "PAPER", LATEST, -1, UUID(int=0), EARLIEST, False, 51], "trade_facts_by_time"),
        (EXPORT_TRADES, [1, "PAPER", EARLY, LATEST, EARLY, UUID(int=0), 1000], "trade_facts_by_time"),
        (LIST_TRADES, [1, "PAPER", [LATE], [LATEST]], "trade_facts_by_time"),
        (SUM_PNL, [1, "PAPER", [EARLY], [EARLY]], "trade_facts_by_time"),
        (EXPORT_DAYS, [1, "PAPER", date(2025, 1, 1), date(2022, 1, 1), 1000], "daily_performance_"),
    ]
    for query, arguments, index in reads:
        async with filled.tenant(1) as connection:
            plan = str(await connection.fetch("EXPLAIN " + query, *arguments))
        assert index in plan
        assert "Seq Scan on user" not in plan
        assert "Seq Scan on trade" not in plan


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("later", [False, True], ids=["first page", "later page"])
async def test_lists_use_their_indexes(filled: Database, later: bool, descending: bool) -> None:
    recorder = Recorder()
    connection = cast(Connection, recorder)
    by_date = Slice(days.ORDERS["date"], 51, (date(2022, 2, 2),) if later else None, descending)
    await days.list_days(connection, 1, "PAPER", first=date(2022, 1, 1), last=None, wanted=by_date)
    await check_plan(filled, recorder, "daily_performance_by_date")
    by_time = Slice(market.ANALYSIS_ORDERS["open_time"], 51, (LATE, UUID(int=0)) if later else None, descending)
    await market.list_analyses(
        connection,
        1,
        symbol="BTCUSDT",
        interval=None,
        watch_id=None,
        is_watchlist=None,
        first=EARLY,
        last=None,
        wanted=by_time,
    )
    await check_plan(filled, recorder, "_user_id_timestamp_watch_id_idx")


async def check_plan(filled: Database, recorder: Recorder, index: str) -> None:
    async with filled.tenant(1) as connection:
        plan = await explain(connection, recorder)
    assert index in plan
    assert "Seq Scan on user" not in plan


async def test_sums_by_symbol_and_strategy_read_only_the_users_own_trades(filled: Database) -> None:
    for query in (LIST_BY_SYMBOL, LIST_BY_STRATEGY):
        async with filled.tenant(1) as connection:
            plan = str(await connection.fetch("EXPLAIN " + query, 1, "PAPER", [EARLY], [LATE]))
        assert "Scan on trade_facts_" in plan or "Index Scan using trade_facts_" in plan


async def test_expired_analyses_are_found_by_their_time(filled: Database) -> None:
    async with filled.tenants([1, 2]) as connection:
        plan = str(await connection.fetch("EXPLAIN " + DELETE_ANALYSES, [1, 2], EARLY, 10))
    assert "_user_id_timestamp_watch_id_idx" in plan
    assert "Seq Scan on user" not in plan


async def test_a_late_trade_does_not_read_all_trades_a_user_ever_made(filled: Database) -> None:
    async with filled.tenants([1]) as connection:
        plan = await connection.fetch("EXPLAIN " + EXITS_SINCE, [1], ["PAPER"], [LATE])
    assert "trade_facts_by_time" in str(plan)
