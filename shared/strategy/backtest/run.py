"""Runs a strategy over all bars of a series."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from shared.strategy.backtest.event_search import Search
from shared.strategy.backtest.metrics import Metrics, measure
from shared.strategy.bars import Bar, Terms, check_tick
from shared.strategy.decimals import exact, inexact
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import Fill, Trade
from shared.strategy.execution.steps import Execution, Step
from shared.strategy.series import Series

_PROGRESS_EVERY = 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """The result of a backtest. `first_decision` is the index of the first bar at which it could decide."""

    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    metrics: Metrics
    final_equity: Decimal
    fingerprint: str
    first_decision: int | None


def run_backtest(
    strategy: Strategy,
    bars: Iterable[Bar] | Series,
    terms: Terms,
    first_bar_ms: int | None = None,
    progress: Progress | None = None,
    search: bool = True,
) -> BacktestReport:
    """Run the strategy over all bars. Raises TickTooCoarse.

    `progress(done, total)` is called about every 1,000 bars and may raise to cancel the run. `search`: whether to
    search for the bars on which something may happen instead of testing each; the report is the same either way.
    """
    series = bars if isinstance(bars, Series) else Series(bars)
    check_tick(terms.instrument.tick_size, _lowest_prices(series))
    execution = Execution(strategy, terms, first_bar_ms, record_decisions=False)
    first = first_decision(strategy, series, first_bar_ms)
    total = len(series)
    finder = Search(execution, series, first) if search else None
    step = Step()
    index, reported = 0, 0
    with exact():
        while (index := _skip_quiet_bars(execution, step, series, finder, index)) < total:
            execution.close_bar(step, series, index)
            index += 1
            if progress is not None and index - reported >= _PROGRESS_EVERY:
                reported = index
                with inexact():
                    progress(reported, total)
    fills, trades = step.fills, step.trades
    if total:
        last = series.bar(total - 1)
        outcome = execution.stop(last.open_time_ms, last.close, "end_of_data")
        fills.extend(outcome.fills)
        trades.extend(outcome.trades)
    metrics = measure(series, trades, terms.initial_balance, first, given_start=first_bar_ms is not None)
    return BacktestReport(tuple(fills), tuple(trades), metrics, execution.equity, fingerprint(fills), first)


def _lowest_prices(series: Series) -> list[Decimal]:
    """Return the lowest open, high, low and close: in an unchecked bar, `low` may not be the lowest price."""
    if not len(series):
        return []
    return [
        getattr(series.bar(int(series.column(name).argmin())), name) for name in ("open", "high", "low", "close")
    ]


def _skip_quiet_bars(execution: Execution, step: Step, series: Series, search: Search | None, index: int) -> int:
    """Fill pending orders and skip the quiet bars. Return the next bar on which something may happen."""
    if execution.pending and index < len(series):
        bar = series.bar(index)
        execution.open_bar(step, bar.open_time_ms, bar.open)
    if search is not None:
        event = search.next_event(index)
        if event > index:
            execution.skip_bars(series, index, event)
        return event
    while index < len(series) and execution.is_quiet(series, index):
        execution.skip_bars(series, index, index + 1)
        index += 1
    return index


def first_decision(strategy: Strategy, series: Series, first_bar_ms: int | None) -> int | None:
    """Return the first bar at which every indicator is defined and that opens at `first_bar_ms` or later."""
    first = series.first_defined(strategy.indicators.values())
    if first is None or first_bar_ms is None:
        return first
    later = max(first, bisect_left(series.bars, first_bar_ms, key=lambda bar: bar.open_time_ms))
    return later if later < len(series) else None
