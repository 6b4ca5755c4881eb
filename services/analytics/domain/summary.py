"""Summary of the trades of a period. Sums are exact; statistics come from `statistics.py`."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import TypeVar
from zoneinfo import ZoneInfo

from services.analytics.domain.capital import PriorTotals, TradingDay, flows_of, trading_days
from services.analytics.domain.days import calendar_returns
from services.analytics.domain.drawdowns import Drawdowns, find_drawdowns
from services.analytics.domain.facts import SessionFact, TradeFact
from services.analytics.domain.growth import growth_of
from services.analytics.domain.local_days import LocalPeriod, is_within
from services.analytics.domain.quotients import PRECISION, ZERO, ratio, rounded_percent
from services.analytics.domain.streaks import Streaks, find_streaks
from services.analytics.statistics import RiskRatios, risk_ratios
from shared.statistics import fraction

K = TypeVar("K", bound=Hashable)
ALL_TIME = LocalPeriod()


@dataclass(frozen=True)
class Sums:
    """Sums over trades. `gains` is the pnl of winning trades, `losses` the negated pnl of losing ones; both ≥ 0."""

    trades: int
    winning_trades: int
    losing_trades: int
    pnl: Decimal
    fees: Decimal
    gains: Decimal
    losses: Decimal
    best_trade: Decimal | None
    worst_trade: Decimal | None

    @property
    def win_rate_pct(self) -> Decimal | None:
        return ratio(Decimal(100 * self.winning_trades), Decimal(self.trades))

    @property
    def profit_factor(self) -> Decimal | None:
        return ratio(self.gains, self.losses)

    @property
    def expectancy(self) -> Decimal | None:
        return ratio(self.pnl, Decimal(self.trades))

    @property
    def average_win(self) -> Decimal | None:
        return ratio(self.gains, Decimal(self.winning_trades))

    @property
    def average_loss(self) -> Decimal | None:
        return ratio(self.losses, Decimal(self.losing_trades))


@dataclass(frozen=True)
class Summary:
    """`return_pct` compounds the daily returns on the capital at work; None if a day has no capital at work."""

    sums: Sums
    starting_balance: Decimal
    ending_balance: Decimal
    return_pct: Decimal | None
    max_drawdown_pct: Decimal | None
    drawdowns: Drawdowns
    streaks: Streaks
    ratios: RiskRatios


def summarise(
    trades: Sequence[TradeFact],
    sessions: Sequence[SessionFact],
    pnl_before: Decimal,
    zone: ZoneInfo,
    period: LocalPeriod = ALL_TIME,
) -> Summary:
    """Summarise a period.

    `trades` are those of the period, in order of exit; `sessions` those started before its end; `pnl_before` is the
    pnl of earlier trades.
    """
    flows = flows_of(sessions)
    with localcontext() as context:
        context.prec = PRECISION
        sums = add_up(trades)
        prior = PriorTotals(pnl_before).with_flows(flow for flow in flows if is_within(flow.moment, period.before))
        during = [flow for flow in flows if is_within(flow.moment, period.spans)]
        starting = pnl_before + prior.with_flows(during).added
        days = trading_days(trades, during, zone, prior)
        drawdowns = find_drawdowns(days)
        growth = growth_of((day.capital_at_work, day.pnl) for day in days)
        has_capital = any(day.capital_at_work > 0 for day in days) if days else starting > 0
        deepest = drawdowns.deepest.share if drawdowns.deepest else Fraction(0)
        calendar_days = (days[-1].date - days[0].date).days + 1 if days else 0
        return Summary(
            sums,
            starting,
            starting + sums.pnl,
            rounded_percent(growth - 1) if growth is not None and has_capital else None,
            rounded_percent(deepest) if has_capital else None,
            drawdowns,
            find_streaks(trade.pnl for trade in trades),
            risk_ratios(daily_returns(days), growth, calendar_days, deepest),
        )


def daily_returns(days: Sequence[TradingDay]) -> list[float]:
    """Return the returns of all calendar days from the first to the last with trades.

    Days without capital at work are left out.
    """
    if not days:
        return []
    returns = {day.date: fraction(day.pnl, day.capital_at_work) for day in days}
    return calendar_returns(returns, days[0].date, days[-1].date)


def add_up(trades: Sequence[TradeFact]) -> Sums:
    """Sum trades exactly."""
    with localcontext() as context:
        context.prec = PRECISION
        pnls = [trade.pnl for trade in trades]
        return Sums(
            trades=len(trades),
            winning_trades=sum(pnl > 0 for pnl in pnls),
            losing_trades=sum(pnl < 0 for pnl in pnls),
            pnl=sum(pnls, ZERO),
            fees=sum((trade.fee for trade in trades), ZERO),
            gains=sum((pnl for pnl in pnls if pnl > 0), ZERO),
            losses=-sum((pnl for pnl in pnls if pnl < 0), ZERO),
            best_trade=max(pnls, default=None),
            worst_trade=min(pnls, default=None),
        )


def group_by(trades: Sequence[TradeFact], key: Callable[[TradeFact], K]) -> dict[K, list[TradeFact]]:
    """Group trades by `key`, in order of first appearance."""
    groups: dict[K, list[TradeFact]] = {}
    for trade in trades:
        groups.setdefault(key(trade), []).append(trade)
    return groups
