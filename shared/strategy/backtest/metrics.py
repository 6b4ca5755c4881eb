"""Statistics of a backtest: float64, rounded to 6 places, None where undefined."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from shared.statistics import (
    calmar,
    fraction,
    max_drawdown_pct,
    ratio,
    realised_returns,
    rounded,
    sharpe,
    sortino,
)
from shared.strategy.bars import DAY_MS
from shared.strategy.decimals import ZERO, exact
from shared.strategy.execution.outcome import Trade
from shared.strategy.series import Series


@dataclass(frozen=True, slots=True)
class Metrics:
    total_return_pct: float | None
    buy_and_hold_pct: float | None
    max_drawdown_pct: float | None
    win_rate_pct: float | None
    profit_factor: float | None
    expectancy: float | None
    avg_bars: float | None
    exposure_pct: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    fees: float | None


def measure(
    series: Series,
    trades: Sequence[Trade],
    initial_balance: Decimal,
    first_decision: int | None,
    *,
    given_start: bool,
) -> Metrics:
    """Return the metrics of a run over `series` whose first decision bar is `first_decision`.

    `given_start`: the caller chose when trading starts, so daily returns begin with the day of the first decision
    and not with that of the first bar.
    """
    with exact():
        equity = initial_balance + sum((trade.pnl for trade in trades), ZERO)
        gains = sum((trade.pnl for trade in trades if trade.pnl > 0), ZERO)
        losses = -sum((trade.pnl for trade in trades if trade.pnl < 0), ZERO)
        fees = sum((trade.fees for trade in trades), ZERO)
    pnls = [trade.pnl for trade in trades]
    drawdown = max_drawdown_pct(initial_balance, pnls)
    daily = _daily_pnls(series, trades, first_decision if given_start else 0)
    returns = realised_returns(initial_balance, daily) or ()
    growth = fraction(equity, initial_balance)
    bars = sum(trade.bars for trade in trades)
    decided = 0 if first_decision is None else len(series) - first_decision
    return Metrics(
        total_return_pct=rounded(_percent(fraction(equity - initial_balance, initial_balance))),
        buy_and_hold_pct=rounded(_buy_and_hold_pct(series, first_decision)),
        max_drawdown_pct=rounded(drawdown),
        win_rate_pct=rounded(ratio(100 * sum(pnl > 0 for pnl in pnls), len(pnls))),
        profit_factor=rounded(fraction(gains, losses)),
        expectancy=rounded(fraction(equity - initial_balance, Decimal(len(pnls)))),
        avg_bars=rounded(ratio(bars, len(trades))),
        exposure_pct=rounded(ratio(100 * bars, decided)),
        sharpe=rounded(sharpe(returns)),
        sortino=rounded(sortino(returns)),
        calmar=rounded(calmar(growth, len(daily), drawdown)),
        fees=rounded(float(fees)),
    )


def _percent(value: float | None) -> float | None:
    return None if value is None else value * 100


def _buy_and_hold_pct(series: Series, first_decision: int | None) -> float | None:
    """Return the change from the open after the first decision bar to the last close."""
    if first_decision is None or first_decision + 1 >= len(series):
        return None
    bought, sold = series.bar(first_decision + 1).open, series.bar(len(series) - 1).close
    with exact():
        gained = sold - bought
    return _percent(fraction(gained, bought))


def _daily_pnls(series: Series, trades: Sequence[Trade], start: int | None) -> list[Decimal]:
    """Return the pnl of each UTC day from bar `start` to the last bar, days without a trade included."""
    if start is None or start >= len(series):
        return []
    first = series.bar(start).open_time_ms // DAY_MS
    daily = [ZERO] * (series.bar(len(series) - 1).open_time_ms // DAY_MS - first + 1)
    with exact():
        for trade in trades:
            daily[trade.exit_time // DAY_MS - first] += trade.pnl
    return daily
