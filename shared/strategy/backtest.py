"""A strategy run over all bars of a series at once."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from shared.strategy.bars import Bar, Terms
from shared.strategy.document import Strategy
from shared.strategy.execution import Execution
from shared.strategy.fingerprint import fingerprint
from shared.strategy.metrics import Metrics, measure
from shared.strategy.outcome import Fill, Trade
from shared.strategy.series import Series

_PROGRESS_EVERY = 1000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What a backtest gives. `first_decision` is the index of the first bar at which it could decide."""

    fills: tuple[Fill, ...]
    trades: tuple[Trade, ...]
    metrics: Metrics
    final_equity: Decimal
    fingerprint: str
    first_decision: int | None


def run_backtest(
    strategy: Strategy,
    bars: Iterable[Bar],
    terms: Terms,
    first_bar_ms: int | None = None,
    progress: Progress | None = None,
) -> Report:
    """Steps through all bars; `progress(done, total)` is told now and then, and may raise to cancel."""
    series = bars if isinstance(bars, Series) else Series(bars)
    execution = Execution(strategy, terms, first_bar_ms)
    fills: list[Fill] = []
    trades: list[Trade] = []
    total = len(series)
    for index in range(total):
        outcome = execution.on_close(series, index)
        if outcome.fills:
            fills.extend(outcome.fills)
            trades.extend(outcome.trades)
        if progress is not None and (index + 1) % _PROGRESS_EVERY == 0:
            progress(index + 1, total)
    if total:
        last = series.bar(total - 1)
        outcome = execution.stop(last.open_time_ms, last.close, "end_of_data")
        fills.extend(outcome.fills)
        trades.extend(outcome.trades)
    first = first_decision(strategy, series, first_bar_ms)
    metrics = measure(series, trades, terms.initial_balance, first)
    return Report(tuple(fills), tuple(trades), metrics, execution.equity, fingerprint(fills), first)


def first_decision(strategy: Strategy, series: Series, first_bar_ms: int | None) -> int | None:
    """The first bar at which every indicator is defined, or `first_bar_ms` if that is later."""
    first = series.first_defined(strategy.indicators.values())
    if first is None or first_bar_ms is None:
        return first
    later = (index for index in range(first, len(series)) if series.bar(index).open_time_ms >= first_bar_ms)
    return next(later, None)
