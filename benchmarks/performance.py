"""Recomputing days from trades, and exporting trades, against Postgres alone on the same rows."""

from functools import partial
from zoneinfo import ZoneInfo

import asyncpg

from benchmarks.measuring import Figure, measure_rate_async
from benchmarks.servers import BenchmarkServers
from services.analytics.operations.rebuild import rebuild_all
from services.analytics.routes.export import ExportQuery, pieces_of
from services.analytics.settings import AnalyticsSettings
from shared.chassis.postgres import Database

USERS = 100
TRADES_PER_USER = 1_000
EXPORTED = 30_000

FILL = """
    SET search_path = analytics;
    TRUNCATE trade_facts, user_daily_performance, stale_days, user_zones, user_rounds;
    INSERT INTO user_zones (user_id, timezone) SELECT u, 'Europe/Rome' FROM generate_series(1, $1) u;
    INSERT INTO trade_facts (user_id, trade_id, session_id, mode, symbol, side, strategy_id, strategy_name,
                             entry_time, exit_time, pnl, fee, reason, entry_price, exit_price, quantity,
                             pnl_percentage)
    SELECT u, gen_random_uuid(), gen_random_uuid(), 'PAPER', 'BTCUSDT', 'LONG', gen_random_uuid(), 'cross', moment,
           moment, (n % 21 - 10) * 1.25, 0.1, 'signal', 50000.1, 50010.2, 0.125, 0.02
    FROM (SELECT u, n, '2026-01-01Z'::timestamptz + make_interval(hours => n::integer) AS moment
          FROM (SELECT 1 + (i - 1) % $1 AS u, (i - 1) / $1 AS n
                FROM generate_series(1, $1 * $2) i) AS each) AS timed
"""
PLAIN_DAYS = "CREATE TABLE public.plain_days (user_id bigint, date date, trades bigint, pnl numeric)"
DAYS_BARE = """
    INSERT INTO public.plain_days
    SELECT user_id, (exit_time AT TIME ZONE 'Europe/Rome')::date, count(*), sum(pnl) FROM analytics.trade_facts
    WHERE user_id <= $1 GROUP BY 1, 2
"""


async def measure(servers: BenchmarkServers) -> list[Figure]:
    settings = AnalyticsSettings.model_validate(servers.environment("analytics"))
    database = await Database.connect(settings)
    connection = await asyncpg.connect(servers.superuser_dsn)
    await connection.execute(PLAIN_DAYS)
    await _fill(connection, USERS, TRADES_PER_USER)
    trades = USERS * TRADES_PER_USER
    ours = await measure_rate_async(trades, partial(_rebuild, database))
    bare = await measure_rate_async(trades, partial(connection.execute, DAYS_BARE, USERS))
    await _fill(connection, 1, EXPORTED)
    exported = await measure_rate_async(EXPORTED, partial(_export, database))
    copied = await measure_rate_async(EXPORTED, partial(_copy, connection))
    await connection.close()
    await database.close()
    return [
        Figure("days recomputed, 100 users of 1,000 trades", "trades/s", ours, "one INSERT … GROUP BY", bare),
        Figure("trades exported as CSV", "rows/s", exported, "COPY … TO CSV", copied),
    ]


async def _fill(connection: asyncpg.Connection, users: int, trades_of_each: int) -> None:
    for statement in FILL.replace("$1", str(users)).replace("$2", str(trades_of_each)).split(";"):
        await connection.execute(statement)
    await connection.execute("ANALYZE analytics.trade_facts")


async def _rebuild(database: Database) -> None:
    users = [user async for user in rebuild_all(database)]
    assert len(users) == USERS


async def _export(database: Database) -> None:
    async for _ in pieces_of(database, 1, ExportQuery(what="trades"), ZoneInfo("UTC")):
        pass


async def _copy(connection: asyncpg.Connection) -> None:
    async def discard(_: bytes) -> None:
        pass

    query = "SELECT * FROM analytics.trade_facts WHERE user_id = 1 ORDER BY exit_time"
    await connection.copy_from_query(query, output=discard, format="csv")
