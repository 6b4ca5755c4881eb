"""Live sessions: from a candle's close to their orders; kill switches; the hand-over from a worker that is gone."""

import os
import signal
import statistics
import time
from collections.abc import Sequence

from benchmarks.live_scene import LiveScene, arrival_of, live_scene
from benchmarks.measuring import Figure, Rate, summarise
from benchmarks.servers import BenchmarkServers
from sandbox.bybit.messages import Json
from services.trading.operations import platform_kill_switch
from services.trading.operations.platform_kill_switch import Scope
from shared.chassis.clock import utc_now

ACCOUNTS = 100
SYMBOLS = 10  # of each account, in the larger case
WARM, CLOSES = 2, 4  # of which every second has the entries, the others the exits
FIRST_AIM_S, LAST_AIM_S = 0.05, 1.0
FLAT_AIM_S = 5.0
HAND_OVER_AIM_S = 15.0


async def measure(servers: BenchmarkServers) -> list[Figure]:
    async with live_scene(servers, ACCOUNTS, 1) as few:
        figures = await _orders_and_hand_overs(few)
    async with live_scene(servers, ACCOUNTS, SYMBOLS) as many, many.worker():
        return [*figures, *await _orders(many), *await _kill_switch(many)]


async def _orders_and_hand_overs(live: LiveScene) -> list[Figure]:
    async with live.worker() as first:
        figures = await _orders(live)
        async with live.worker() as second:
            await _seconds_to_orders(live)
            dead = await _hand_over(live, first, signal.SIGKILL)
            async with live.worker():
                await _seconds_to_orders(live)
                try:
                    frozen = await _hand_over(live, second, signal.SIGSTOP)
                finally:
                    os.kill(second, signal.SIGCONT)
    live.check_orders()
    return [
        *figures,
        _within("a worker dies just before a close → the last exit of its sessions", [dead], HAND_OVER_AIM_S),
        _within("a worker freezes just before a close → the last exit of its sessions", [frozen], HAND_OVER_AIM_S),
    ]


async def _orders(live: LiveScene) -> list[Figure]:
    """Measure from the publication of a close until the exchange gets the order of each session."""
    await live.until_held(1)
    closes = [await _seconds_to_orders(live) for _ in range(WARM + CLOSES)][WARM:]
    return [*_latencies("entries", closes[::2]), *_latencies("exits", closes[1::2])]


async def _seconds_to_orders(live: LiveScene) -> list[float]:
    await live.settle()
    began = await live.close()
    return sorted(at - began for at in await live.until_sent(live.sessions))


def _latencies(what: str, closes: Sequence[Sequence[float]]) -> list[Figure]:
    """Compare the first and the last order of each close with their aims."""
    sessions = len(closes[0])
    every = statistics.quantiles([each for close in closes for each in close], n=100)
    name = f"a candle's close → {sessions:,} {what} sent"
    return [
        _within(f"{name}, the first", [close[0] for close in closes], FIRST_AIM_S),
        _within(
            f"{name}, the last (all: p50 {_ms(every[49])}, p99 {_ms(every[98])})",
            [close[-1] for close in closes],
            LAST_AIM_S,
        ),
    ]


async def _kill_switch(live: LiveScene) -> list[Figure]:
    """Stop the platform while entries are being sent, and have all positions closed."""
    await live.settle()
    await live.close()
    await live.until_sent(live.sessions // 2)
    began = time.time()
    async with live.scene.superuser.transaction():
        await platform_kill_switch.switch_on(
            live.scene.superuser, Scope(), utc_now(), flatten=True, reason="a benchmark"
        )
    await live.until_flat()
    orders = await live.new_orders()
    entries = [arrival_of(order) - began for order in orders if not _closes(order)]
    closes = [arrival_of(order) - began for order in orders if _closes(order)]
    stopped = (
        f"kill switch while {live.sessions:,} entries are sent → the last of them (of {len(entries)} later ones)"
    )
    return [
        _within(stopped, [max([0.001, *entries])], LAST_AIM_S),
        _within(f"kill switch → flat ({len(closes):,} positions closed)", [max(closes)], FLAT_AIM_S),
    ]


def _closes(order: Json) -> bool:
    body = order["body"]
    return isinstance(body, dict) and bool(body["reduceOnly"])


async def _hand_over(live: LiveScene, worker: int, by: signal.Signals) -> float:
    """End one of two workers just before a close; return the seconds until the last order of the close."""
    await live.until_held(2)
    await live.settle()
    os.kill(worker, by)
    began = await live.close()
    return max(await live.until_sent(live.sessions)) - began


def _within(name: str, seconds: Sequence[float], aim_s: float) -> Figure:
    middle, slowest = statistics.median(seconds), max(seconds)
    times = f"{_ms(middle)}, the slowest {_ms(slowest)}" if len(seconds) > 1 else _ms(middle)
    return Figure(
        f"{name} ({times})",
        "a second",
        summarise([1 / each for each in seconds]),
        f"within {_ms(aim_s)}",
        Rate(1 / aim_s, 0),
        aim=1,
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:,.0f} ms"
