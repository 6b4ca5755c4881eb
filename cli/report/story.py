"""What a report tells: bars, fills and trades with the stops that stood meanwhile, and what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.strategy.backtest.metrics import Metrics
from shared.strategy.backtest.run import BacktestReport
from shared.strategy.bars import Bar, Terms
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.outcome import Fill, Position, Trade
from shared.strategy.execution.position import standing_stop
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series


@dataclass(frozen=True)
class StopAt:
    """The stop as it stood within a bar; None where there was no position, or one without a stop."""

    time_ms: int
    price: Decimal | None


class StopLine:
    """Follows the stop from bar to bar."""

    def __init__(self) -> None:
        self.stops: list[StopAt] = []

    def see(self, time_ms: int, position: Position | None) -> None:
        """What is held after this bar's open."""
        standing = standing_stop(position) if position is not None else None
        price = standing[0] if standing is not None else None
        if not self.stops or self.stops[-1].price != price:
            self.stops.append(StopAt(time_ms, price))


@dataclass(frozen=True)
class Story:
    """`heading` says what it is of; `notes` what the reader must know besides."""

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
    stops: Sequence[StopAt]
    notes: Sequence[str] = ()

    @property
    def equity(self) -> list[tuple[int, Decimal]]:
        """Realised: the initial balance at the first bar, then after each trade."""
        curve, equity = [(self.bars[0].open_time_ms, self.terms.initial_balance)], self.terms.initial_balance
        for trade in self.trades:
            equity += trade.pnl
            curve.append((trade.exit_time, equity))
        return curve


def of_backtest(
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
        stops_of(strategy, terms, bars, first_bar_ms),
        notes,
    )


def stops_of(strategy: Strategy, terms: Terms, bars: Sequence[Bar], first_bar_ms: int | None) -> list[StopAt]:
    """Each bar's stop, from stepping once more; one entry wherever it changes."""
    series, execution, line = Series(bars), Execution(strategy, terms, first_bar_ms), StopLine()
    for index, bar in enumerate(bars):
        execution.on_open(bar.open_time_ms, bar.open)
        line.see(bar.open_time_ms, execution.position)
        execution.on_close(series, index)
    return line.stops
