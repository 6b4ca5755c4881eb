"""What the trades of a period come to. Sums are exact; what is a statistic comes from statistics.py."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from typing import TypeVar
from zoneinfo import ZoneInfo

from services.analytics.domain.days import (
    PRECISION,
    ZERO,
    SessionFact,
    TradeFact,
    cut_days,
    max_drawdown_pct,
    percent,
    trailing,
)
from services.analytics.domain.drawdowns import Drawdowns, find_drawdowns
from services.analytics.domain.streaks import Streaks, find_streaks
from services.analytics.statistics import RiskRatios, ratio, risk_ratios

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Sums:
    """`gains` and `losses` are what winning trades won and losing ones lost, both ≥ 0."""

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
    sums: Sums
    starting_balance: Decimal
    ending_balance: Decimal
    max_drawdown_pct: Decimal | None
    drawdowns: Drawdowns
    streaks: Streaks
    ratios: RiskRatios

    @property
    def return_pct(self) -> Decimal | None:
        return percent(self.sums.pnl, self.starting_balance)


def summarise(
    trades: Sequence[TradeFact], sessions: Sequence[SessionFact], pnl_before: Decimal, zone: ZoneInfo
) -> Summary:
    """`trades` of the period in order of exit; `sessions` begun by its end; `pnl_before` of earlier trades.

    Drawdown and growth are of realised equity on all the capital of the period, so that capital brought in later
    is no gain. Ratios are of every calendar day from the first with a trade to the last.
    """
    with localcontext() as context:
        context.prec = PRECISION
        sums = add_up(trades)
        starting = sum((session.initial_balance for session in sessions), pnl_before)
        ending = starting + sums.pnl
        drawdown = max_drawdown_pct(starting, (trade.pnl for trade in trades))
        drawdowns = find_drawdowns(starting, ((local_date(trade, zone), trade.pnl) for trade in trades))
        growth = ending / starting if starting > 0 else None
    returns = daily_returns(trades, sessions, pnl_before, zone)
    return Summary(
        sums,
        starting,
        ending,
        drawdown,
        drawdowns,
        find_streaks(trade.pnl for trade in trades),
        risk_ratios(returns, growth, drawdown),
    )


def local_date(trade: TradeFact, zone: ZoneInfo) -> date:
    return trade.exit_time.astimezone(zone).date()


def daily_returns(
    trades: Sequence[TradeFact], sessions: Sequence[SessionFact], pnl_before: Decimal, zone: ZoneInfo
) -> list[Decimal]:
    """In percent, of every calendar day from the first with a trade to the last."""
    days = cut_days(trades, sessions, zone, pnl_before=pnl_before)
    if not days:
        return []
    first, last = days[0].date, days[-1].date
    returns = {day.date: day.daily_pnl_percentage for day in days}
    return trailing(returns, first, last, (last - first).days + 1)


def add_up(trades: Sequence[TradeFact]) -> Sums:
    """Exact."""
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
    """In order of first appearance."""
    groups: dict[K, list[TradeFact]] = {}
    for trade in trades:
        groups.setdefault(key(trade), []).append(trade)
    return groups
