"""A strategy run over all bars of a series at once."""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from shared.strategy.backtest.event_search import Search, worthwhile
from shared.strategy.backtest.metrics import Metrics, measure
from shared.strategy.bars import Bar, Terms, check_tick
from shared.strategy.decimals import exact, not_exact
from shared.strategy.document.fingerprint import fingerprint
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.outcome import Fill, Trade
from shared.strategy.execution.steps import Execution, Step
from shared.strategy.series import Series

_PROGRESS_EVERY = 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class BacktestReport:
    """What a backtest gives. `first_decision` is the index of the first bar at which it could decide."""

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
    search: bool | None = None,
) -> BacktestReport:
    """Executes over all bars; `progress(done, total)` is told now and then, and may raise to cancel.

    `search`: whether to look for the bars on which something may happen; the report is the same without. By default
    where that is quicker. Raises TickTooCoarse.
    """
    series = bars if isinstance(bars, Series) else Series(bars)
    check_tick(terms.instrument.tick_size, _lowest_prices(series))
    execution = Execution(strategy, terms, first_bar_ms, explains=False)
    first = first_decision(strategy, series, first_bar_ms)
    total = len(series)
    searching = worthwhile(total) if search is None else search
    finder = Search(execution, series, first) if searching else None
    step = Step()
    index, told = 0, 0
    with exact():
        while (index := _pass_quiet(execution, step, series, finder, index)) < total:
            execution.close_bar(step, series, index)
            index += 1
            if progress is not None and index - told >= _PROGRESS_EVERY:
                told = index
                with not_exact():
                    progress(told, total)
    fills, trades = step.fills, step.trades
    if total:
        last = series.bar(total - 1)
        outcome = execution.stop(last.open_time_ms, last.close, "end_of_data")
        fills.extend(outcome.fills)
        trades.extend(outcome.trades)
    metrics = measure(series, trades, terms.initial_balance, first, given_start=first_bar_ms is not None)
    return BacktestReport(tuple(fills), tuple(trades), metrics, execution.equity, fingerprint(fills), first)


def _lowest_prices(series: Series) -> list[Decimal]:
    """A bar that nobody checked may have a low that is not the lowest of its prices."""
    if not len(series):
        return []
    return [
        getattr(series.bar(int(series.column(name).argmin())), name) for name in ("open", "high", "low", "close")
    ]


def _pass_quiet(execution: Execution, step: Step, series: Series, search: Search | None, index: int) -> int:
    """Fills what is pending, and passes over the bars on which nothing more happens; the first on which it may."""
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
    """The first bar at which every indicator is defined, or `first_bar_ms` if that is later."""
    first = series.first_defined(strategy.indicators.values())
    if first is None or first_bar_ms is None:
        return first
    later = max(first, bisect_left(series.bars, first_bar_ms, key=lambda bar: bar.open_time_ms))
    return later if later < len(series) else None
