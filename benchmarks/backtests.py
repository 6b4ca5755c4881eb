"""A candle's close → the paper fills that follow from it, with nothing to calculate and beside a queue full of
backtests."""

import asyncio
import statistics
from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg

from benchmarks.measuring import Figure, Rate, summarised
from benchmarks.paper import RESTLESS, Scene, scene
from benchmarks.servers import Place
from services.trading.bybit_api import kline_of
from services.trading.feed import queries
from services.trading.feed.queries import StoredCandle
from services.trading.operations.queue_backtest import BacktestRequest, queue_backtest
from services.trading.operations.strategies import create_strategy
from shared.chassis.clock import utc_now
from shared.contracts.types import from_ms
from tests.unit.trading.scenes import CROSS, INTERVAL, START_MS, wavy_bars

SESSIONS = 20
CLOSES = 60  # measured, each way
LONG = 20_000  # bars of one backtest
WAITING = 900  # backtests, of each of two tenants
PROCESSES = 2
BUSY_FOR_S = 3.0  # before it is measured
ASKING = (SESSIONS + 1, SESSIONS + 2)  # for backtests


async def measure(place: Place) -> list[Figure]:
    async with scene(place) as world:
        market = await world.market("BTCUSDT", 10 + 2 * CLOSES + 2)
        await world.subscribe(max(ASKING))
        await world.start(dict.fromkeys(range(1, SESSIONS + 1), RESTLESS), "BTCUSDT")
        async with world.process("worker"):
            await world.seconds_to_fills(market, 10, SESSIONS)  # warms up
            alone = await world.seconds_to_fills(market, CLOSES, SESSIONS)
            await _fill_queue(world)
            async with world.process("backtests", backtest_processes=str(PROCESSES)):
                await asyncio.sleep(BUSY_FOR_S)
                beside = await world.seconds_to_fills(market, CLOSES, SESSIONS)
            left = await world.superuser.fetchval("SELECT count(*) FROM trading.backtest_jobs")
    assert left, "the queue was not full to the end"
    name = f"a candle's close → {SESSIONS} fills committed, beside {2 * WAITING:,} backtests"
    return [
        _figure(f"{name}, p50", alone, beside, 50),
        _figure(f"{name}, p99", alone, beside, 99),
    ]


def _figure(name: str, alone: list[float], beside: list[float], percentile: int) -> Figure:
    ours, theirs = (statistics.quantiles(each, n=100)[percentile - 1] for each in (beside, alone))
    return Figure(
        f"{name} ({1000 * ours:.0f} ms)",
        "a second",
        Rate(1 / ours, summarised(beside).spread_pct),
        f"without backtests ({1000 * theirs:.0f} ms)",
        Rate(1 / theirs, summarised(alone).spread_pct),
        aim=0.5,
    )


async def _fill_queue(world: Scene) -> None:
    """Each a question of its own, by its fee."""
    async with world.database.tenants(()) as connection:
        contract = await connection.fetchrow("SELECT * FROM instruments")
        await connection.execute(
            "INSERT INTO instruments VALUES ('bybit', 'ETHUSDT', $1, $2, $3, $4)", *tuple(contract)[2:6]
        )
        series = await queries.get_or_create_series(connection, "ETHUSDT", INTERVAL)
        bars = [
            StoredCandle(kline_of(bar[0], *map(str, bar[1:]), interval=INTERVAL), None) for bar in wavy_bars(LONG)
        ]
        await queries.insert_candles(connection, series.series_id, bars, "HISTORY")
    for user_id in ASKING:
        strategy = await create_strategy(world.database, user_id, CROSS)
        until = from_ms(START_MS) + timedelta(days=400)
        request = BacktestRequest(
            *(strategy.strategy_id, None, "ETHUSDT", from_ms(START_MS), until),
            *(Decimal("0.001"), Decimal(0), Decimal(10_000)),
        )
        row = await queue_backtest(world.database, user_id, request, LONG, utc_now())
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
        WAITING - 1,
    )
