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


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over all trades, for the metrics. `returns` are those of `days` UTC days, see `realised_returns`."""

    trades: int
    won: int
    bars: int
    gains: Decimal
    losses: Decimal
    fees: Decimal
    drawdown_pct: float | None
    days: int
    returns: Sequence[float] | None


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
    drawdown = max_drawdown_pct(initial_balance, [trade.pnl for trade in trades])
    daily = _daily_pnls(series, trades, first_decision if given_start else 0)
    returns = realised_returns(initial_balance, daily)
    with exact():
        totals = Totals(
            trades=len(trades),
            won=sum(trade.pnl > 0 for trade in trades),
            bars=sum(trade.bars for trade in trades),
            gains=sum((trade.pnl for trade in trades if trade.pnl > 0), ZERO),
            losses=-sum((trade.pnl for trade in trades if trade.pnl < 0), ZERO),
            fees=sum((trade.fees for trade in trades), ZERO),
            drawdown_pct=drawdown,
            days=len(daily),
            returns=returns,
        )
    return metrics_of(series, totals, initial_balance, first_decision)


def metrics_of(series: Series, totals: Totals, initial_balance: Decimal, first_decision: int | None) -> Metrics:
    with exact():
        gained = totals.gains - totals.losses
        equity = initial_balance + gained
    returns = totals.returns or ()
    growth = fraction(equity, initial_balance)
    decided = 0 if first_decision is None else len(series) - first_decision
    return Metrics(
        total_return_pct=rounded(_percent(fraction(gained, initial_balance))),
        buy_and_hold_pct=rounded(_buy_and_hold_pct(series, first_decision)),
        max_drawdown_pct=rounded(totals.drawdown_pct),
        win_rate_pct=rounded(ratio(100 * totals.won, totals.trades)),
        profit_factor=rounded(fraction(totals.gains, totals.losses)),
        expectancy=rounded(fraction(gained, Decimal(totals.trades))),
        avg_bars=rounded(ratio(totals.bars, totals.trades)),
        exposure_pct=rounded(ratio(100 * totals.bars, decided)),
        sharpe=rounded(sharpe(returns)),
        sortino=rounded(sortino(returns)),
        calmar=rounded(calmar(growth, totals.days, totals.drawdown_pct)),
        fees=rounded(float(totals.fees)),
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
    first, count = days_from(series, start)
    daily = [ZERO] * count
    with exact():
        for trade in trades:
            daily[trade.exit_time // DAY_MS - first] += trade.pnl
    return daily


def days_from(series: Series, start: int | None) -> tuple[int, int]:
    """Return the UTC day of bar `start`, and the number of days from it to the last bar's; 0 without a start."""
    if start is None or start >= len(series):
        return 0, 0
    first = series.bar(start).open_time_ms // DAY_MS
    return first, series.bar(len(series) - 1).open_time_ms // DAY_MS - first + 1
