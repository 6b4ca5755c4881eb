"""The engine on a year of one-minute bars, against bare loops and other engines; and indicators at one more bar."""

import time
from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import TypeVar

from benchmarks import bots
from benchmarks.crossing import YEAR, Columns, columns, strategy, synthetic_bars, year
from benchmarks.measuring import RUNS, Figure, Rate, measure_rate, summarise
from benchmarks.other_engines import NEW_PROCESS_BARS, run_peer, time_new_processes
from shared.strategy.backtest.integers.booking import book
from shared.strategy.backtest.integers.result import report_of
from shared.strategy.backtest.run import first_decision, run_backtest
from shared.strategy.backtest.sweep import run_sweep
from shared.strategy.bars import Terms
from shared.strategy.conditions.evaluation import truths
from shared.strategy.document.parse import Strategy
from shared.strategy.indicators.recipes import CANDLE_FIELDS, KINDS, IndicatorSpec
from shared.strategy.indicators.values import compute
from shared.strategy.series import Series

SLOW_PEER_BARS = 50_000  # for the peer that takes seconds for so many
SWEEP_BARS = 100_000
SETTINGS = [(fast, slow) for fast in range(5, 30) for slow in range(30, 70)]
STEPS = 300
TERMS = Terms()


def measure() -> list[Figure]:
    prices = columns(year())
    run_backtest(strategy(), year(), TERMS)  # loads what is compiled
    whole = _measure(YEAR, _ready_series, lambda series: run_backtest(strategy(), series, TERMS))
    return [
        _compare_with(whole, "numba", prices, YEAR, 1 / 4),
        _compare_with(whole, "vectorbt", prices, YEAR, 4.0),
        _compare_with(whole, "backtesting", prices, SLOW_PEER_BARS, 300.0),
        _in_decimals(whole),
        *_parts(),
        _sweep(prices),
        _new_process(),
        *(_one_more_bar(history) for history in (3_000, 50_000)),
        *bots.measure(),
    ]


def _ready_series() -> Series:
    """Prices in memory: as decimals, floats and ticks, without any indicator."""
    return _prices().share()


@cache
def _prices() -> Series:
    series = Series(year())
    series.ticks(TERMS.instrument.tick_size)
    return series


Input = TypeVar("Input")


def _measure(units: int, prepare: Callable[[], Input], run: Callable[[Input], object]) -> Rate:
    seconds = []
    for _ in range(RUNS):
        value = prepare()
        began = time.process_time()
        run(value)
        seconds.append(time.process_time() - began)
    return summarise([units / each for each in seconds])


# The parts of a backtest.


def _in_decimals(integers: Rate) -> Figure:
    """Compare with the same run in decimals, which paper and live sessions use."""
    theirs = _measure(
        YEAR, _ready_series, lambda series: run_backtest(strategy(), series, TERMS, arithmetic="decimal")
    )
    return Figure(
        f"the same ({_ms(YEAR, integers)})", "bars/s", integers, f"in decimals ({_ms(YEAR, theirs)})", theirs
    )


def _parts() -> list[Figure]:
    """Compare the parts of a run with the whole: conditions on all bars; booking with fingerprint; metrics."""
    plan = strategy()
    first = first_decision(plan, _ready_series(), None)
    signals = _measure(YEAR, _ready_series, lambda series: _signals(plan, series))
    booked = _ready_series()
    _signals(plan, booked)
    booking = book(plan, booked, TERMS, first)
    assert booking is not None, "the case fits in integers"
    books = _measure(YEAR, lambda: booked, lambda series: book(plan, series, TERMS, first))
    metrics = _measure(
        YEAR,
        lambda: booked,
        lambda series: report_of(booking, plan.content_hash, series, TERMS, first, given_start=False),
    )
    whole = _measure(YEAR, _ready_series, lambda series: run_backtest(plan, series, TERMS))
    named = {"conditions on all bars": signals, "booking and fingerprint": books, "metrics": metrics}
    return [
        Figure(f"part: {name} ({_ms(YEAR, part)})", "bars/s", part, f"the whole ({_ms(YEAR, whole)})", whole)
        for name, part in named.items()
    ]


def _signals(plan: Strategy, series: Series) -> None:
    for condition in (*plan.entry.values(), *plan.exit.values()):
        truths(condition, series)


def _sweep(prices: Columns) -> Figure:
    """Run all settings on two threads, in elapsed time; the peer is the bare loop over floats on one."""
    plans = [strategy(*setting) for setting in SETTINGS]
    series = Series(year()[:SWEEP_BARS])
    ours = measure_rate(len(plans), lambda: run_sweep(plans, series, TERMS, threads=2))
    found = run_peer("numba_sweep", prices, SWEEP_BARS)
    theirs = summarise([len(plans) / each for each in found.seconds])
    name = f"{len(plans):,} settings on {SWEEP_BARS:,} bars, two threads ({len(plans) / ours.per_s:.2f} s elapsed)"
    return Figure(name, "settings/s", ours, f"bare loops, one thread ({len(plans) / theirs.per_s:.2f} s)", theirs)


# Other engines.


def _compare_with(ours: Rate, peer: str, prices: Columns, bars: int, aim: float) -> Figure:
    found = run_peer(peer, prices, bars)
    theirs = summarise([bars / each for each in found.seconds])
    name = f"a backtest of {YEAR:,} bars, warm, whole ({_ms(YEAR, ours)})"
    return Figure(name, "bars/s", ours, f"{peer} {found.version}, {bars:,} bars ({_ms(bars, theirs)})", theirs, aim)


def _new_process() -> Figure:
    ours, theirs, version = time_new_processes(synthetic_bars(NEW_PROCESS_BARS))
    return Figure(
        f"a new process on {NEW_PROCESS_BARS:,} bars ({_ms(1, ours)})",
        "runs/s",
        ours,
        f"a new process of backtesting {version} ({_ms(1, theirs)})",
        theirs,
        aim=1.0,
    )


def _ms(units: int, found: Rate) -> str:
    return f"{1000 * units / found.per_s:,.1f} ms"


# One more bar.


def _one_more_bar(history: int) -> Figure:
    """Advance every type of indicator by a bar; the peer is TA-Lib over the whole history."""
    bars = synthetic_bars(history + STEPS)
    specs = [_usual_parameters(kind) for kind in sorted(KINDS)]
    whole = Series(bars[:history])
    candles = {name: whole.column(name) for name in CANDLE_FIELDS}

    def prepare() -> Series:
        series = Series(bars[:history])
        for _ in range(2):  # the second pass opens the streams
            for spec in specs:
                series.values(spec)
            series.append(bars[len(series)])
        return series

    def advance(series: Series) -> None:
        for bar in bars[len(series) :]:
            series.append(bar)
            for spec in specs:
                series.values(spec)

    ours = _measure((STEPS - 2) * len(specs), prepare, advance)
    theirs = _measure(len(specs), lambda: None, lambda _: [compute(spec, candles) for spec in specs])
    name = f"one bar more after {history:,}, mean of {len(specs)} types ({1e6 / ours.per_s:.2f} µs)"
    return Figure(name, "values/s", ours, f"TA-Lib over the history ({1e6 / theirs.per_s:.0f} µs)", theirs)


def _usual_parameters(kind: str) -> IndicatorSpec:
    usual = {"period": 20, "fast": 12, "slow": 26, "signal": 9, "fastk": 14, "slowk": 3, "slowd": 3}
    integers = {name: usual[name] for name in KINDS[kind].integers}
    assert integers.keys() <= {each.name for each in fields(IndicatorSpec)}
    return replace(IndicatorSpec(kind), **integers)  # type: ignore[arg-type]  # keyword arguments by field name
