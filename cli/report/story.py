"""Report data: bars, fills, trades, the stop over time, and metrics."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.strategy.backtest.metrics import Metrics
from shared.strategy.backtest.report import BacktestReport
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.outcome import Fill, Position, Trade
from shared.strategy.execution.position import active_stop
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series


@dataclass(frozen=True)
class StopLevel:
    """The stop price from this bar on; None if there was no position, or no stop."""

    time_ms: int
    price: Decimal | None


class StopRecorder:
    """Records the stop price of each bar, one entry per change."""

    def __init__(self) -> None:
        self.stops: list[StopLevel] = []

    def record(self, time_ms: int, position: Position | None) -> None:
        """Record the stop of the position held after this bar's open."""
        stop = active_stop(position) if position is not None else None
        price = stop[0] if stop is not None else None
        if not self.stops or self.stops[-1].price != price:
            self.stops.append(StopLevel(time_ms, price))


@dataclass(frozen=True)
class Story:
    """Data of one report page; `heading` names the run, `notes` are additional remarks."""

    heading: str
    strategy: Strategy
    terms: Terms
    bars: Sequence[Bar]
    fills: Sequence[Fill]
    trades: Sequence[Trade]
    metrics: Metrics
    fingerprint: str
    final_equity: Decimal
    first_decision: int | None
    stops: Sequence[StopLevel]
    notes: Sequence[str] = ()

    @property
    def equity(self) -> list[tuple[int, Decimal]]:
        """Realised equity: the initial balance at the first bar, then the equity after each trade."""
        curve, equity = [(self.bars[0].open_time_ms, self.terms.initial_balance)], self.terms.initial_balance
        for trade in self.trades:
            equity += trade.pnl
            curve.append((trade.exit_time, equity))
        return curve


def story_of_backtest(
    heading: str,
    strategy: Strategy,
    terms: Terms,
    bars: Sequence[Bar],
    report: BacktestReport,
    first_bar_ms: int | None,
    notes: Sequence[str] = (),
) -> Story:
    return Story(
        heading,
        strategy,
        terms,
        bars,
        report.fills,
        report.trades,
        report.metrics,
        report.fingerprint,
        report.final_equity,
        report.first_decision,
        record_stops(strategy, terms, bars, first_bar_ms),
        notes,
    )


def record_stops(
    strategy: Strategy, terms: Terms, bars: Sequence[Bar], first_bar_ms: int | None
) -> list[StopLevel]:
    """Execute the strategy again and return the stop over time, one entry per change."""
    series, execution, recorder = Series(bars), Execution(strategy, terms, first_bar_ms), StopRecorder()
    for index, bar in enumerate(bars):
        execution.on_open(bar.open_time_ms, bar.open)
        recorder.record(bar.open_time_ms, execution.position)
        execution.on_close(series, index)
    return recorder.stops
