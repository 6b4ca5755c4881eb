"""Runs a strategy over all bars of a series."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from decimal import Decimal

from shared.strategy.backtest.event_search import Search
from shared.strategy.backtest.integers.booking import book
from shared.strategy.backtest.integers.result import report_of
from shared.strategy.backtest.metrics import measure
from shared.strategy.backtest.report import Arithmetic, BacktestReport
from shared.strategy.bars import Bar, Terms, check_tick
from shared.strategy.decimals import exact, inexact
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import Fill, Trade
from shared.strategy.execution.steps import Execution, Step
from shared.strategy.series import Series

_PROGRESS_EVERY = 1000
Progress = Callable[[int, int], None]


def run_backtest(
    strategy: Strategy,
    bars: Iterable[Bar] | Series,
    terms: Terms,
    first_bar_ms: int | None = None,
    progress: Progress | None = None,
    *,
    arithmetic: Arithmetic = "integer",
    search: bool = True,
) -> BacktestReport:
    """Run the strategy over all bars. Raises TickTooCoarse.

    The run is computed in integers if they are certain to fit, in decimals otherwise or if the caller says so; the
    report is the same and says which. `progress(done, total)` is called at the end of a run in integers, and about
    every 1,000 bars of one in decimals, and may raise to cancel it. `search`: whether a run in decimals searches
    for the bars on which something may happen instead of testing each; the report is the same either way.
    """
    series = bars if isinstance(bars, Series) else Series(bars)
    first = first_decision(strategy, series, first_bar_ms)
    given_start = first_bar_ms is not None
    booking = book(strategy, series, terms, first) if arithmetic == "integer" else None
    if booking is not None:
        if progress is not None:
            progress(len(series), len(series))
        return report_of(booking, strategy.content_hash, series, terms, first, given_start=given_start)
    check_tick(terms.instrument.tick_size, _lowest_prices(series))
    execution = Execution(strategy, terms, first_bar_ms, record_decisions=False)
    finder = Search(execution, series, first) if search else None
    fills, trades = _step_through(execution, series, finder, progress)
    return BacktestReport(
        metrics=measure(series, trades, terms.initial_balance, first, given_start=given_start),
        final_equity=execution.equity,
        fingerprint=fingerprint(fills),
        first_decision=first,
        total_fills=len(fills),
        total_trades=len(trades),
        arithmetic="decimal",
        build=lambda: (tuple(fills), tuple(trades)),
    )


def _step_through(
    execution: Execution, series: Series, search: Search | None, progress: Progress | None
) -> tuple[list[Fill], list[Trade]]:
    total, step = len(series), Step()
    index, reported = 0, 0
    with exact():
        while (index := _skip_quiet_bars(execution, step, series, search, index)) < total:
            execution.close_bar(step, series, index)
            index += 1
            if progress is not None and index - reported >= _PROGRESS_EVERY:
                reported = index
                with inexact():
                    progress(reported, total)
    if total:
        last = series.bar(total - 1)
        outcome = execution.stop(last.open_time_ms, last.close, "end_of_data")
        step.fills.extend(outcome.fills)
        step.trades.extend(outcome.trades)
    return step.fills, step.trades


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
