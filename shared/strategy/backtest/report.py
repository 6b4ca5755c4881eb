"""The result of a backtest. Fills and trades are built as objects when they are first read."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

from shared.strategy.backtest.metrics import Metrics
from shared.strategy.execution.outcome import Fill, Trade

Arithmetic = Literal["integer", "decimal"]
FillsAndTrades = tuple[tuple[Fill, ...], tuple[Trade, ...]]


@dataclass(frozen=True, eq=False)
class BacktestReport:
    """`first_decision` is the index of the first bar at which it could decide.

    Two reports are equal if all results are, whatever the arithmetic they were computed in.
    """

    metrics: Metrics
    final_equity: Decimal
    fingerprint: str
    first_decision: int | None
    total_fills: int
    total_trades: int
    arithmetic: Arithmetic
    build: Callable[[], FillsAndTrades]

    @cached_property
    def _built(self) -> FillsAndTrades:
        return self.build()

    @property
    def fills(self) -> tuple[Fill, ...]:
        return self._built[0]

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self._built[1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BacktestReport) and self._results() == other._results()

    def __hash__(self) -> int:
        return hash(self.fingerprint)

    def _results(self) -> tuple[object, ...]:
        counts = (self.total_fills, self.total_trades)
        return (self.metrics, self.final_equity, self.fingerprint, self.first_decision, counts, self._built)
