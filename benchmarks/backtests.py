"""The time from a candle's close to the resulting paper fills, with and without a full queue of backtests."""

import asyncio
import statistics
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from benchmarks.measuring import Figure, Rate, summarise
from benchmarks.paper import RESTLESS, Scene, scene
from benchmarks.servers import BenchmarkServers
from services.trading.feed import queries
from services.trading.feed.queries import StoredCandle
from services.trading.operations.queue_backtest import BacktestRequest, queue_backtest
from services.trading.operations.strategies import create_strategy
from shared.chassis.clock import utc_now
from shared.contracts.types import from_ms
from tests.as_tenant import as_tenant
from tests.unit.trading.scenes import CROSS, INTERVAL, START_MS, wavy_bars

SESSIONS = 20
CLOSES = 60  # measured with and without backtests
BACKTEST_BARS = 20_000  # bars of one backtest
QUEUED = 900  # backtests per tenant, of two tenants
PROCESSES = 2
BUSY_FOR_S = 3.0  # before measuring
REQUESTERS = (SESSIONS + 1, SESSIONS + 2)  # tenants that request backtests


async def measure(servers: BenchmarkServers) -> list[Figure]:
    async with scene(servers) as world:
        market = await world.market("BTCUSDT", wavy_bars(10 + 2 * CLOSES + 2))
        await world.subscribe(max(REQUESTERS))
        await world.start(dict.fromkeys(range(1, SESSIONS + 1), RESTLESS), "BTCUSDT")
        async with world.process("worker"):
            await world.until_loaded()
            await world.seconds_to_fills(market, 10, SESSIONS)  # warms up
            alone = await world.seconds_to_fills(market, CLOSES, SESSIONS)
            await _fill_queue(world)
            async with world.process("backtests", backtest_processes=str(PROCESSES)):
                await asyncio.sleep(BUSY_FOR_S)
                beside = await world.seconds_to_fills(market, CLOSES, SESSIONS)
            left = await world.superuser.fetchval("SELECT count(*) FROM trading.backtest_jobs")
    assert left, "the queue ran empty before the end"
    name = f"a candle's close → {SESSIONS} fills committed, beside {2 * QUEUED:,} backtests"
    return [
        _figure(f"{name}, p50", alone, beside, 50),
        _figure(f"{name}, p99", alone, beside, 99),
    ]


def _figure(name: str, alone: list[float], beside: list[float], percentile: int) -> Figure:
    ours, theirs = (statistics.quantiles(each, n=100)[percentile - 1] for each in (beside, alone))
    return Figure(
        f"{name} ({1000 * ours:.0f} ms)",
        "a second",
        Rate(1 / ours, summarise(beside).spread_pct),
        f"without backtests ({1000 * theirs:.0f} ms)",
        Rate(1 / theirs, summarise(alone).spread_pct),
        aim=0.5,
    )


async def _fill_queue(world: Scene) -> None:
    """Queue backtests that differ in their fee, so that none can reuse a result."""
    async with world.database.tenants(()) as connection:
        contract = await connection.fetchrow("SELECT * FROM instruments")
        await connection.execute(
            "INSERT INTO instruments VALUES ('bybit', 'ETHUSDT', $1, $2, $3, $4)", *tuple(contract)[2:6]
        )
        *_, series = await queries.get_or_create_generations(connection, "ETHUSDT", INTERVAL)
        bars = [StoredCandle(bar, None) for bar in wavy_bars(BACKTEST_BARS)]
        await queries.insert_candles(connection, series.series_id, bars, "HISTORY")
    for user_id in REQUESTERS:
        strategy = await as_tenant(world.database, create_strategy, user_id, CROSS)
        until = from_ms(START_MS) + timedelta(days=400)
        request = BacktestRequest(
            *(strategy.strategy_id, None, "ETHUSDT", from_ms(START_MS), until),
            *(Decimal("0.001"), Decimal(0), Decimal(10_000)),
        )
        row = await as_tenant(world.database, queue_backtest, user_id, request, BACKTEST_BARS, utc_now())
        await _copy(world.superuser, row.backtest_id)


async def _copy(superuser: asyncpg.Connection, backtest_id: UUID) -> None:
    columns = await superuser.fetchval(
        """
        SELECT string_agg(column_name, ', ') FROM information_schema.columns
        WHERE table_schema = 'trading' AND table_name = 'backtests'
              AND column_name NOT IN ('backtest_id', 'fee_rate')
        """
    )
    await superuser.execute(
        f"""
        WITH copied AS (
            INSERT INTO trading.backtests (backtest_id, fee_rate, {columns})
            SELECT gen_random_uuid(), n * 0.000001, {columns}
            FROM trading.backtests, generate_series(1, $2::integer) AS n WHERE backtest_id = $1
            RETURNING user_id, backtest_id
        )
        INSERT INTO trading.backtest_jobs (user_id, backtest_id) SELECT * FROM copied
        """,
        backtest_id,
        QUEUED - 1,
    )
