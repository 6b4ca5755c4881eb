"""A candle's close on one worker: until the fills it leads to are there, and the whole step of 10,000 sessions."""

import asyncio
import statistics
import time

from benchmarks.bots import pairs
from benchmarks.measuring import Figure, Rate, summarised
from benchmarks.paper import RESTLESS, WITHIN_S, Scene, scene
from benchmarks.servers import Place
from shared.contracts.types import from_ms
from tests.integration.trading.writes import count_writes, writes
from tests.unit.strategy.scenes import NEVER
from tests.unit.trading.scenes import CROSS

FEW, MANY = 100, 1_000  # sessions that have a fill at every open
WARM, CLOSES = 10, 40
USERS, SYMBOLS, STEPS = 500, 20, 10  # a session of each user on each symbol
LEARNT = 100  # bars of before: the longest average takes 89
LOOK_EVERY_S = 0.005


async def measure(place: Place) -> list[Figure]:
    few, many = await _to_fills(place, FEW), await _to_fills(place, MANY)
    latencies = [_latency(percentile, few, many) for percentile in (50, 99)]
    quiet, _ = await _steps(place, quiet=True)
    trading, statements = await _steps(place, quiet=False)
    sessions = USERS * SYMBOLS
    name = f"the whole step of {sessions:,} sessions with its writes ({statements / sessions:.2f} statements each)"
    return [*latencies, Figure(name, "sessions/s", trading, "none of them decides anything", quiet)]


async def _to_fills(place: Place, sessions: int) -> list[float]:
    async with scene(place) as world:
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
        Rate(1 / ours, summarised(many).spread_pct),
        f"{FEW} fills ({1000 * theirs:.0f} ms)",
        Rate(1 / theirs, summarised(few).spread_pct),
    )


async def _steps(place: Place, *, quiet: bool) -> tuple[Rate, float]:
    """Sessions a second from the closes of all symbols to the last cursor; and writing statements per close."""
    async with scene(place) as world:
        symbols = [f"COIN{number}USDT" for number in range(SYMBOLS)]
        bars = LEARNT + WARM + STEPS + 2
        markets = [await world.market(symbol, bars, seed) for seed, symbol in enumerate(symbols)]
        learnt = max([await market.tell(LEARNT, said=False) for market in markets])
        await world.subscribe(USERS)
        sets = pairs()
        documents = {user: _document(*sets[user % len(sets)], quiet=quiet) for user in range(1, USERS + 1)}
        await world.start(documents, *symbols, since=from_ms(learnt + 1))
        async with world.process("worker"):
            for _ in range(WARM):
                await _all_at(world, max([await market.tell() for market in markets]))
            await count_writes(world.superuser)
            seconds = []
            for _ in range(STEPS):
                began = time.perf_counter()
                await _all_at(world, max(await asyncio.gather(*(market.tell() for market in markets))))
                seconds.append(time.perf_counter() - began)
            written = len(await writes(world.superuser)) / STEPS
    return summarised([USERS * SYMBOLS / each for each in seconds]), written


def _document(fast: int, slow: int, *, quiet: bool) -> dict[str, object]:
    averages = {"fast": {"type": "EMA", "period": fast}, "slow": {"type": "EMA", "period": slow}}
    config = {"interval": "15", "side": "BOTH", "indicators": averages}
    return {**CROSS, "strategy_config": config, **({"entry_conditions": {"long": NEVER}} if quiet else {})}


async def _all_at(world: Scene, last_bar_ms: int) -> None:
    behind = "SELECT count(*) FROM trading.user_trading_sessions WHERE last_bar IS DISTINCT FROM $1"
    async with asyncio.timeout(WITHIN_S):
        while await world.superuser.fetchval(behind, from_ms(last_bar_ms)):
            await asyncio.sleep(LOOK_EVERY_S)
