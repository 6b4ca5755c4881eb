"""10,000 paper sessions at a candle's close, in memory: their conditions, and their steps."""

import random
import time

from benchmarks.crossing import strategy, synthetic_bars
from benchmarks.measuring import Figure, summarise
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.decisions import Signals
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

SYMBOLS, PARAMETERS, SESSIONS, HISTORY, CLOSES = 20, 50, 10_000, 3_000, 30


def measure() -> list[Figure]:
    plans = [strategy(fast, slow) for fast, slow in pairs()]
    bars = [synthetic_bars(HISTORY + CLOSES + 1, seed) for seed in range(SYMBOLS)]
    signals, steps = _ours(plans, bars)
    loop = _plain_loop(bars)
    case = f"{SESSIONS:,} sessions, {SYMBOLS} symbols, {PARAMETERS} parameter sets"
    found, stepped, theirs = (
        summarise([SESSIONS / each for each in seconds]) for seconds in (signals, steps, loop)
    )
    peer = f"a plain loop over bots ({1000 * SESSIONS / theirs.per_s:.1f} ms)"
    return [
        Figure(
            f"signals: {case} ({1000 * SESSIONS / found.per_s:.1f} ms)", "sessions/s", found, peer, theirs, aim=1.0
        ),
        Figure(f"steps: the same ({1000 * SESSIONS / stepped.per_s:.1f} ms)", "sessions/s", stepped, peer, theirs),
    ]


def pairs() -> list[tuple[int, int]]:
    """Return fifty pairs of periods, with about sixty different periods."""
    draw = random.Random(3)
    return sorted((draw.randint(3, 19), slow) for slow in draw.sample(range(20, 90), PARAMETERS))


def _ours(plans: list[Strategy], bars: list[list[Bar]]) -> tuple[list[float], list[float]]:
    """Return seconds per close: appending the bar and evaluating all conditions; then the step of each session."""
    every = [Series(each[:HISTORY]) for each in bars]
    signals_of = [(series, [Signals(plan, series) for plan in plans]) for series in every]
    executions = [
        (Execution(plans[number % PARAMETERS], Terms()), every[number // PARAMETERS % SYMBOLS])
        for number in range(SESSIONS)
    ]
    signals, steps = [], []
    for index in range(HISTORY, HISTORY + CLOSES):
        began = time.process_time()
        for (series, of_series), each in zip(signals_of, bars, strict=True):
            series.append(each[index])
            for signal in of_series:
                signal.side_to_enter(index)
                signal.should_exit("LONG", index)
        signalled = time.process_time()
        for execution, series in executions:
            execution.on_close(series)
        signals.append(signalled - began)
        steps.append(time.process_time() - signalled)
    return signals[2:], steps[2:]  # the first closes open the indicator streams


class _Bot:
    """A minimal bot: two averages and a cross, over floats."""

    def __init__(self, symbol: int, fast: int, slow: int) -> None:
        self.symbol = symbol
        self.fast_share, self.slow_share = 2 / (fast + 1), 2 / (slow + 1)
        self.fast = self.slow = 50_000.0
        self.above = False

    def on_close(self, close: float) -> int:
        self.fast += (close - self.fast) * self.fast_share
        self.slow += (close - self.slow) * self.slow_share
        was, self.above = self.above, self.fast > self.slow
        return self.above - was


def _plain_loop(bars: list[list[Bar]]) -> list[float]:
    sets = pairs()
    bots = [_Bot(number // PARAMETERS % SYMBOLS, *sets[number % PARAMETERS]) for number in range(SESSIONS)]
    seconds = []
    for index in range(HISTORY, HISTORY + CLOSES):
        began = time.process_time()
        closes = [float(each[index].close) for each in bars]
        for bot in bots:
            bot.on_close(closes[bot.symbol])
        seconds.append(time.process_time() - began)
    return seconds
