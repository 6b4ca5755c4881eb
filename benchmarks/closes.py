"""A candle's close on one worker: the time until its fills are stored, and the whole step of 10,000 sessions."""

import asyncio
import statistics
import time

from benchmarks.bots import pairs
from benchmarks.measuring import Figure, Rate, summarise
from benchmarks.paper import RESTLESS, WITHIN_S, Scene, scene
from benchmarks.servers import BenchmarkServers
from shared.contracts.types import from_ms
from tests.integration.trading.writes import count_writes, writes
from tests.unit.strategy.scenes import NEVER
from tests.unit.trading.scenes import CROSS

FEW, MANY = 100, 1_000  # sessions that have a fill at every open
WARM, CLOSES = 10, 40
USERS, SYMBOLS, STEPS = 500, 20, 10  # one session per user and symbol
HISTORY = 100  # bars before the start: the longest average takes 89
POLL_INTERVAL_S = 0.005


async def measure(servers: BenchmarkServers) -> list[Figure]:
    few, many = await _seconds_to_fills(servers, FEW), await _seconds_to_fills(servers, MANY)
    latencies = [_latency(percentile, few, many) for percentile in (50, 99)]
    quiet, _ = await _steps(servers, quiet=True)
    trading, statements = await _steps(servers, quiet=False)
    sessions = USERS * SYMBOLS
    name = f"the whole step of {sessions:,} sessions with its writes ({statements / sessions:.2f} statements each)"
    return [*latencies, Figure(name, "sessions/s", trading, "no session decides anything", quiet)]


async def _seconds_to_fills(servers: BenchmarkServers, sessions: int) -> list[float]:
    async with scene(servers) as world:
        market = await world.market("BTCUSDT", WARM + CLOSES + 2)
        await world.subscribe(sessions)
        await world.start(dict.fromkeys(range(1, sessions + 1), RESTLESS), "BTCUSDT")
        async with world.process("worker"):
            await world.seconds_to_fills(market, WARM, sessions)
            return await world.seconds_to_fills(market, CLOSES, sessions)


def _latency(percentile: int, few: list[float], many: list[float]) -> Figure:
    theirs, ours = (statistics.quantiles(each, n=100)[percentile - 1] for each in (few, many))
    return Figure(
        f"a candle's close → {MANY:,} fills committed, p{percentile} ({1000 * ours:.0f} ms)",
        "a second",
        Rate(1 / ours, summarise(many).spread_pct),
        f"{FEW} fills ({1000 * theirs:.0f} ms)",
        Rate(1 / theirs, summarise(few).spread_pct),
    )


async def _steps(servers: BenchmarkServers, *, quiet: bool) -> tuple[Rate, float]:
    """Return sessions per second, from the closes of all symbols to the last cursor, and writes per close."""
    async with scene(servers) as world:
        symbols = [f"COIN{number}USDT" for number in range(SYMBOLS)]
        bars = HISTORY + WARM + STEPS + 2
        markets = [await world.market(symbol, bars, seed) for seed, symbol in enumerate(symbols)]
        history_end = max([await market.close_bars(HISTORY, announce=False) for market in markets])
        await world.subscribe(USERS)
        sets = pairs()
        documents = {user: _document(*sets[user % len(sets)], quiet=quiet) for user in range(1, USERS + 1)}
        await world.start(documents, *symbols, since=from_ms(history_end + 1))
        async with world.process("worker"):
            for _ in range(WARM):
                await _wait_for_all(world, max([await market.close_bars() for market in markets]))
            await count_writes(world.superuser)
            seconds = []
            for _ in range(STEPS):
                began = time.perf_counter()
                await _wait_for_all(world, max(await asyncio.gather(*(market.close_bars() for market in markets))))
                seconds.append(time.perf_counter() - began)
            written = len(await writes(world.superuser)) / STEPS
    return summarise([USERS * SYMBOLS / each for each in seconds]), written


def _document(fast: int, slow: int, *, quiet: bool) -> dict[str, object]:
    averages = {"fast": {"type": "EMA", "period": fast}, "slow": {"type": "EMA", "period": slow}}
    config = {"interval": "15", "side": "BOTH", "indicators": averages}
    return {**CROSS, "strategy_config": config, **({"entry_conditions": {"long": NEVER}} if quiet else {})}


async def _wait_for_all(world: Scene, last_bar_ms: int) -> None:
    behind = "SELECT count(*) FROM trading.user_trading_sessions WHERE last_bar IS DISTINCT FROM $1"
    async with asyncio.timeout(WITHIN_S):
        while await world.superuser.fetchval(behind, from_ms(last_bar_ms)):
            await asyncio.sleep(POLL_INTERVAL_S)
