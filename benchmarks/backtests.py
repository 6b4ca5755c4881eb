"""A candle's close → the paper fills that follow from it, with nothing to calculate and beside a queue full of
backtests."""

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from uuid import UUID

import asyncpg
from aiohttp.test_utils import TestServer

from benchmarks.measuring import Figure, Rate, summarised
from benchmarks.servers import Place
from cli.stack.migrate import ROOT
from services.trading.bybit_api import kline_of
from services.trading.feed import ledger
from services.trading.feed.ledger import StoredCandle
from services.trading.operations.queue_backtest import BacktestRequest, queue_backtest
from services.trading.operations.start_session import PaperTerms, StartRequest, start_session
from services.trading.operations.strategies import create_strategy
from services.trading.settings import TradingSettings
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.postgres import Database
from shared.chassis.producer import Producer
from shared.contracts.types import from_ms
from tests.integration.trading.market import BEFORE, Exchange, Market
from tests.unit.trading.scenes import CROSS, INTERVAL, START_MS, wavy_bars

SESSIONS = 20
CLOSES = 60  # measured, each way
LONG = 20_000  # bars of one backtest
WAITING = 900  # backtests, of each of two tenants
PROCESSES = 2
WITHIN_S = 240.0
BUSY_FOR_S = 3.0  # before it is measured
PAPER = PaperTerms(Decimal("0.00055"), Decimal(0))
# Has a fill at every open: in, out, in, …
RESTLESS: dict[str, object] = {
    "strategy_name": "restless",
    "strategy_config": {"interval": INTERVAL, "side": "LONG", "indicators": {}},
    "entry_conditions": {"left": "close", "op": ">", "right": "0"},
    "risk_management": {"position_size": {"type": "fixed_base", "value": "1"}, "max_bars": 1},
}


@dataclass
class _Scene:
    place: Place
    database: Database
    superuser: asyncpg.Connection
    environment: dict[str, str]
    market: Market


async def measure(place: Place) -> list[Figure]:
    async with _scene(place) as scene:
        async with _process(scene, "worker"):
            await _closes(scene, 10)  # warms up
            alone = await _closes(scene, CLOSES)
            await _fill_queue(scene)
            async with _process(scene, "backtests"):
                await asyncio.sleep(BUSY_FOR_S)
                beside = await _closes(scene, CLOSES)
            left = await scene.superuser.fetchval("SELECT count(*) FROM trading.backtest_jobs")
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


@asynccontextmanager
async def _scene(place: Place) -> AsyncIterator[_Scene]:
    """A market, tenants with a session each, and two who ask for backtests on a longer one."""
    exchange = Exchange()
    server = TestServer(exchange.app())
    await server.start_server()
    environment = {**place.environment("trading"), "bybit_rest_url": f"http://127.0.0.1:{server.port}"}
    database = await Database.connect(TradingSettings.model_validate(environment))
    producer = Producer(place.bootstrap, place.prefix, "trading")
    superuser = await asyncpg.connect(place.superuser_dsn)
    market = Market(database, producer, "BTCUSDT", wavy_bars(10 + 2 * CLOSES + 2))
    try:
        await market.begin()
        scene = _Scene(place, database, superuser, environment, market)
        await _people(scene)
        yield scene
    finally:
        await superuser.close()
        await producer.discard()
        await database.close()
        await server.close()


async def _people(scene: _Scene) -> None:
    await scene.superuser.execute(
        """
        INSERT INTO trading.entitlements (user_id, public_id, subscription_version, plan, status, has_backtesting)
        SELECT n, gen_random_uuid(), 1, 'PRO', 'ACTIVE', true FROM generate_series(1, $1::bigint) AS n
        """,
        SESSIONS + 2,
    )
    for user_id in range(1, SESSIONS + 1):
        strategy = await create_strategy(scene.database, user_id, RESTLESS)
        caller = Principal(user_id, UUID(int=user_id), frozenset(), None)
        request = StartRequest(strategy.strategy_id, None, None, "BTCUSDT", "PAPER", Decimal(10_000))
        await start_session(scene.database, caller, request, PAPER, BEFORE)


async def _fill_queue(scene: _Scene) -> None:
    """Each a question of its own, by its fee."""
    async with scene.database.tenants(()) as connection:
        contract = await connection.fetchrow("SELECT * FROM instruments")
        await connection.execute(
            "INSERT INTO instruments VALUES ('bybit', 'ETHUSDT', $1, $2, $3, $4)", *tuple(contract)[2:6]
        )
        series = await ledger.get_or_create_series(connection, "ETHUSDT", INTERVAL)
        bars = [StoredCandle(kline_of(bar[0], *map(str, bar[1:])), None) for bar in wavy_bars(LONG)]
        await ledger.insert_candles(connection, series.series_id, bars, "HISTORY")
    for user_id in (SESSIONS + 1, SESSIONS + 2):
        strategy = await create_strategy(scene.database, user_id, CROSS)
        until = from_ms(START_MS) + timedelta(days=400)
        request = BacktestRequest(
            *(strategy.strategy_id, None, "ETHUSDT", from_ms(START_MS), until),
            *(Decimal("0.001"), Decimal(0), Decimal(10_000)),
        )
        row = await queue_backtest(scene.database, user_id, request, LONG, utc_now())
        await _copy(scene.superuser, row.backtest_id)


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


@asynccontextmanager
async def _process(scene: _Scene, role: str) -> AsyncIterator[None]:
    """One role of trading, as it runs in production."""
    told = {name.upper(): value for name, value in scene.environment.items()}
    environment = {**os.environ, **told, "PYTHONPATH": str(ROOT), "LOG_LEVEL": "ERROR"}
    environment["BACKTEST_PROCESSES"] = str(PROCESSES)
    command = [sys.executable, "-m", "services.trading", "--only", role]
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        await process.wait()


async def _closes(scene: _Scene, count: int) -> list[float]:
    """Seconds from the close, as the feed says it, to each fill at the open after it."""
    seconds: list[float] = []
    for _ in range(count):
        began = utc_now()
        closed_ms = await scene.market.tell()
        opened = from_ms(closed_ms + 900_000)
        seconds += [(moment - began).total_seconds() for moment in await _fills_at(scene, opened)]
    return seconds


async def _fills_at(scene: _Scene, opened: datetime) -> list[datetime]:
    """When each was written, moments before its commit, by the database's clock, which is this machine's."""
    async with asyncio.timeout(WITHIN_S):
        while True:
            rows = await scene.superuser.fetch("SELECT created_at FROM trading.fills WHERE time = $1", opened)
            if len(rows) == SESSIONS:
                return [row["created_at"] for row in rows]
            await asyncio.sleep(0.02)
