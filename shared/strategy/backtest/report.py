"""The result of a backtest. What only a reader needs, fills and trades as objects, is made when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Literal

from shared.strategy.backtest.metrics import Metrics
from shared.strategy.execution.outcome import Fill, Trade

Arithmetic = Literal["integer", "decimal"]
Booked = tuple[tuple[Fill, ...], tuple[Trade, ...]]


@dataclass(frozen=True)
class BacktestReport:
    """`first_decision` is the index of the first bar at which it could decide.

    `arithmetic`: what the run was computed in; the results are the same either way.
    """

    metrics: Metrics
    final_equity: Decimal
    fingerprint: str
    first_decision: int | None
    total_fills: int
    total_trades: int
    arithmetic: Arithmetic = field(compare=False)
    make_fills_and_trades: Callable[[], Booked] = field(compare=False, repr=False)

    @cached_property
    def _booked(self) -> Booked:
        return self.make_fills_and_trades()

    @property
    def fills(self) -> tuple[Fill, ...]:
        return self._booked[0]

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self._booked[1]
