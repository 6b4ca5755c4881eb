"""The engine on a year of one-minute bars, against bare loops and other engines; and indicators at one more bar."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import TypeVar

from benchmarks import bots
from benchmarks.crossing import FEE, STOP, TARGET, YEAR, Columns, columns, strategy, synthetic_bars, year
from benchmarks.measuring import RUNS, Figure, Rate, summarise
from benchmarks.other_engines import NEW_PROCESS_BARS, run_peer, time_new_processes
from shared.strategy.backtest.event_search import Search
from shared.strategy.backtest.run import BacktestReport, first_decision, run_backtest
from shared.strategy.bars import Terms
from shared.strategy.decimals import exact
from shared.strategy.execution.steps import Execution, Step
from shared.strategy.indicators.recipes import CANDLE_FIELDS, KINDS, IndicatorSpec
from shared.strategy.indicators.values import compute
from shared.strategy.series import Series

SLOW_PEER_BARS = 50_000  # for the peer that takes seconds for so many
STEPS = 300
TERMS = Terms()
CENT, UNIT = Decimal("0.01"), Decimal("0.001")
PLACES = Decimal("1E-8")


def measure() -> list[Figure]:
    prices = columns(year())
    report = run_backtest(strategy(), year(), TERMS, search=True)
    parts = [_parts(Series(year())) for _ in range(RUNS)]
    whole = _measure(YEAR, lambda: Series(year()), lambda series: run_backtest(strategy(), series, TERMS))
    return [
        _search_figure(parts, prices),
        _booking_figure(parts, report),
        _compare_with(whole, "vectorbt", prices, YEAR, 1.0),
        _compare_with(whole, "backtesting", prices, SLOW_PEER_BARS, 50.0),
        _new_process(),
        *(_one_more_bar(history) for history in (3_000, 50_000)),
        *bots.measure(),
    ]


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


@dataclass
class _Parts:
    """Seconds of one run: conditions on all bars, the search for events, and the exact steps at the events."""

    signals: float
    search: float
    booking: float


class _TimedSearch(Search):
    search_s = 0.0

    def next_event(self, index: int) -> int:
        began = time.process_time()
        event = super().next_event(index)
        self.search_s += time.process_time() - began
        return event


def _parts(series: Series) -> _Parts:
    """Run the loop of `run_backtest` and time its parts."""
    execution, step, index = Execution(strategy(), TERMS, record_decisions=False), Step(), 0
    began = time.process_time()
    search = _TimedSearch(execution, series, first_decision(strategy(), series, None))
    signalled = time.process_time()
    with exact():
        while index < len(series):
            if execution.pending:
                execution.open_bar(step, series.bar(index).open_time_ms, series.bar(index).open)
            event = search.next_event(index)
            if event > index:
                execution.skip_bars(series, index, event)
            if event < len(series):
                execution.close_bar(step, series, event)
            index = event + 1
    over = time.process_time()
    return _Parts(signalled - began, search.search_s, over - signalled - search.search_s)


def _search_figure(parts: list[_Parts], prices: Columns) -> Figure:
    theirs = summarise([YEAR / each for each in run_peer("numba", prices, YEAR).seconds])
    ours = summarise([YEAR / (each.signals + each.search) for each in parts])
    name = f"signals and search ({_ms(YEAR, ours)})"
    return Figure(name, "bars/s", ours, f"a bare numba loop ({_ms(YEAR, theirs)})", theirs, aim=1 / 3)


def _booking_figure(parts: list[_Parts], report: BacktestReport) -> Figure:
    """Compare all work in decimals, per trade, with a loop that only books the same trades."""
    trades = len(report.trades)
    ours = summarise([trades / each.booking for each in parts])
    theirs = _measure(trades, lambda: None, lambda _: _bare_booking(report))
    return Figure(
        f"exact booking of {trades:,} trades ({1e6 / ours.per_s:.1f} µs each)",
        "trades/s",
        ours,
        f"a bare loop in decimals ({1e6 / theirs.per_s:.1f} µs)",
        theirs,
    )


def _bare_booking(report: BacktestReport) -> Decimal:
    """Compute quantity, stop, target, fees and pnl of each trade from its prices."""
    equity, fee = Decimal(10_000), Decimal(str(FEE))
    stop, target = 1 - Decimal(str(STOP)), 1 + Decimal(str(TARGET))
    for trade in report.trades:
        price, left = trade.entry_price, trade.exit_price
        qty = (equity / 2 / price).quantize(UNIT, ROUND_DOWN)
        levels = (price * stop).quantize(CENT), (price * target).quantize(CENT)
        gross = (left - price) * qty
        fees = price * qty * fee + left * qty * fee
        pnl = (gross - fees).quantize(PLACES, ROUND_HALF_EVEN)
        share = (pnl / (price * qty) * 100).quantize(PLACES, ROUND_HALF_EVEN) if qty else qty
        equity += pnl if levels[0] < levels[1] and share < 100 else 0
    return equity


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
