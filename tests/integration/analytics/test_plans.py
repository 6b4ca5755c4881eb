"""Hot queries use their indexes, on a filled database."""

from datetime import UTC, date, datetime

import asyncpg
import pytest

from cli.stack.migrate import DatabaseAccess
from services.analytics.queries.days import LIST_DAYS, LIST_EQUITY
from services.analytics.queries.facts import TRADES_SINCE
from services.analytics.queries.market import LIST_ANALYSES
from shared.chassis.postgres import Database

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
    FROM generate_series(1, 10) u, generate_series(1, 2000) n;
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
        (LIST_DAYS, [1, "PAPER", date(2022, 1, 1), None, None, 51], "daily_performance_by_date"),
        # A bitmap of one's own, or in order.
        (LIST_EQUITY, [1, "PAPER", None, None, None, None, 51], "Scan on trade_facts_"),
        (LIST_ANALYSES, [1, "BTCUSDT", None, EARLY, None, None, None, 51], "_user_id_timestamp_watch_id_idx"),
    ]
    for query, arguments, index in reads:
        async with filled.tenant(1) as connection:
            plan = str(await connection.fetch("EXPLAIN " + query, *arguments))
        assert index in plan
        assert "Seq Scan on user" not in plan
        assert "Seq Scan on trade" not in plan


async def test_a_late_trade_does_not_read_all_trades_a_user_ever_made(filled: Database) -> None:
    async with filled.tenants([1]) as connection:
        plan = await connection.fetch("EXPLAIN " + TRADES_SINCE, [1], ["PAPER"], [LATE])
    assert "trade_facts_by_time" in str(plan)
