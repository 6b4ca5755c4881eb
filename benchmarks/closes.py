"""A candle's close on one worker: the time until its fills are committed, and the whole step of 10,000 sessions."""

import statistics
import time
from decimal import Decimal
from pathlib import Path

from benchmarks.bare_rows import measure_bare
from benchmarks.bots import pairs
from benchmarks.measuring import Figure, Rate, summarise
from benchmarks.paper import RESTLESS, Scene, scene
from benchmarks.servers import BenchmarkServers
from shared.contracts.types import from_ms
from shared.strategy.bars import Bar
from tests.integration.trading.market import Market
from tests.integration.trading.writes import count_writes, stop_counting, writes
from tests.unit.trading.scenes import CROSS, START_MS, STEP_MS, wavy_bars

FEW, MANY = 20, 1_000  # sessions that have a fill at every open
WARM, CLOSES = 4, 30
USERS, SYMBOLS, STEPS = 500, 20, 10  # one session per user and symbol
HISTORY = 100  # bars before the start: the longest average takes 89
MEMORY_AIM_MB = 600


async def measure(servers: BenchmarkServers) -> list[Figure]:
    figures = []
    for sessions in (FEW, MANY):
        figures += await _fills(servers, sessions)
    return figures + await _steps(servers)


async def _fills(servers: BenchmarkServers, sessions: int) -> list[Figure]:
    async with scene(servers) as world:
        market = await world.market("BTCUSDT", wavy_bars(WARM + CLOSES + 2))
        await world.subscribe(sessions)
        await world.start(dict.fromkeys(range(1, sessions + 1), RESTLESS), "BTCUSDT")
        async with world.process("worker"):
            await world.until_loaded()
            await world.seconds_to_fills(market, WARM, sessions)
            seconds = await world.seconds_to_fills(market, CLOSES, sessions)
        bound = await _bound(world, market, sessions)
    return [_latency(percentile, sessions, seconds, bound) for percentile in (50, 99)]


def _latency(percentile: int, sessions: int, seconds: list[float], bound: Rate) -> Figure:
    took = statistics.quantiles(seconds, n=100)[percentile - 1]
    return Figure(
        f"a candle's close → {sessions:,} fills committed, p{percentile} ({1000 * took:.0f} ms)",
        "a second",
        Rate(1 / took, summarise(seconds).spread_pct),
        f"bare inserts of the same rows ({1000 / bound.per_s:.0f} ms)",
        bound,
        aim=0.25 if (sessions, percentile) == (MANY, 50) else None,
    )


async def _bound(world: Scene, market: Market, events: int, **others: str) -> Rate:
    """Measure bare inserts of the rows of the last close and the open after it, and of these other tables' rows."""
    closed, opened = (f"'{from_ms(each)}'" for each in (market.opened_ms - STEP_MS, market.opened_ms))
    conditions = {
        "decisions": f"time = {closed}",
        "fills": f"time = {opened}",
        "user_trades": f"{opened} IN (entry_time, exit_time)",
        "outbox": f"id > (SELECT max(id) FROM trading.outbox) - {events}",
    }
    return await measure_bare(world.superuser, {**conditions, **others})


async def _steps(servers: BenchmarkServers) -> list[Figure]:
    """Measure from the closes of all symbols to the last cursor: while prices stand still, and while they move."""
    async with scene(servers) as world:
        still = HISTORY + WARM + STEPS + 1  # bars, the last for counting statements
        markets = [
            await world.market(f"COIN{number}USDT", _still_then_moving(still, WARM + STEPS + 3, seed=number))
            for number in range(SYMBOLS)
        ]
        history_end = max([await market.close_bars(HISTORY, announce=False) for market in markets])
        await world.subscribe(USERS)
        sets = pairs()
        documents = {user: _document(*sets[user % len(sets)]) for user in range(1, USERS + 1)}
        symbols = [f"COIN{number}USDT" for number in range(SYMBOLS)]
        await world.start(documents, *symbols, since=from_ms(history_end + 1))
        async with world.process("worker") as pid:
            await world.until_loaded()
            quiet = await _measure_steps(world, markets, pid)
            return quiet + await _measure_steps(world, markets, pid)


async def _measure_steps(world: Scene, markets: list[Market], pid: int) -> list[Figure]:
    """Measure the next `STEPS` closes after `WARM` others; the statements are those of one more close."""
    for _ in range(WARM):
        await _step(world, markets)
    filled = await world.count_fills()
    seconds = [await _step(world, markets) for _ in range(STEPS)]
    filled = (await world.count_fills() - filled) // STEPS
    memory_mb = _memory_mb(pid)
    await count_writes(world.superuser)
    await _step(world, markets)
    statements = len(await writes(world.superuser))
    await stop_counting(world.superuser)
    bound = await _bound(world, markets[0], filled, session_cursors="true")
    sessions = USERS * SYMBOLS
    whole = summarise([1 / each for each in seconds])
    what = f"{filled:,} have fills" if filled else "none decides"
    name = f"a close of {SYMBOLS} series: {sessions:,} sessions, {what}"
    bare = f"bare inserts of the same rows ({1000 / bound.per_s:.0f} ms)"
    took = f"{1000 / whole.per_s:.0f} ms, {statements} statements"
    aim = Rate(sessions / MEMORY_AIM_MB, 0)
    return [
        Figure(f"{name} ({took})", "a second", whole, bare, bound),
        Figure(
            f"memory of the worker, {sessions:,} sessions ({memory_mb:.0f} MB)",
            "sessions/MB",
            Rate(sessions / memory_mb, 0),
            f"{MEMORY_AIM_MB} MB",
            aim,
            aim=1,
        ),
    ]


async def _step(world: Scene, markets: list[Market]) -> float:
    """Publish the next close and open of all series; return the seconds until every session has stepped."""
    events = [event for market in markets for event in await market.store_next()]
    last_bar = from_ms(markets[0].opened_ms - STEP_MS)
    began = time.perf_counter()
    await world.producer.publish(events)
    await world.until_stepped(last_bar)
    return time.perf_counter() - began


def _memory_mb(pid: int) -> float:
    (resident,) = (
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(resident.split()[1]) / 1024


def _document(fast: int, slow: int) -> dict[str, object]:
    averages = {"fast": {"type": "EMA", "period": fast}, "slow": {"type": "EMA", "period": slow}}
    return {**CROSS, "strategy_config": {"interval": "15", "side": "BOTH", "indicators": averages}}


def _still_then_moving(still: int, moving: int, seed: int) -> list[Bar]:
    """Bars of one price, on which no average crosses another, and then a random walk from there."""
    price = Decimal(100)
    bars = [Bar(START_MS + index * STEP_MS, price, price, price, price, Decimal(1)) for index in range(still)]
    return bars + wavy_bars(moving, seed, START_MS + still * STEP_MS)
