"""From facts to days and sums; pure. Money is exact; what is a statistic says so and is in statistics.py."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from uuid import UUID
from zoneinfo import ZoneInfo

from services.analytics.statistics import trailing_sharpe, trailing_volatility

ZERO = Decimal(0)
PLACES = Decimal("0.00000001")
TRAILING_DAYS = 30


@dataclass(frozen=True)
class TradeFact:
    trade_id: UUID
    session_id: UUID
    symbol: str
    strategy_name: str
    exit_time: datetime
    pnl: Decimal
    fee: Decimal


@dataclass(frozen=True)
class SessionFact:
    """`started_at` is None while only a later event of the session has been heard."""

    session_id: UUID
    initial_balance: Decimal
    started_at: datetime | None


@dataclass(frozen=True)
class Day:
    """A local day with trades. Balances and pnl are exact; percentages have 8 places."""

    date: date
    starting_balance: Decimal
    ending_balance: Decimal
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    max_drawdown: Decimal | None
    sharpe_ratio: Decimal | None
    volatility: Decimal | None


def cut_days(trades: Iterable[TradeFact], sessions: Sequence[SessionFact], zone: ZoneInfo) -> list[Day]:
    """All days with trades, from the facts alone: the same facts give the same days in whatever order they came.

    A trade belongs to the local date of its exit. The starting balance is what sessions begun by the day's end
    brought in, and all pnl before; capital that sessions bring is a flow, outside the day's percentage.
    """
    by_day: dict[date, list[TradeFact]] = {}
    for trade in sorted(trades, key=lambda trade: (trade.exit_time, trade.trade_id)):
        by_day.setdefault(trade.exit_time.astimezone(zone).date(), []).append(trade)
    days: list[Day] = []
    before = ZERO
    returns: list[tuple[date, Decimal]] = []
    for day in sorted(by_day):
        capital = _capital_by(day, sessions, zone)
        cut = _cut(day, by_day[day], capital + before)
        if cut.daily_pnl_percentage is not None:
            returns.append((day, cut.daily_pnl_percentage))
        recent = [value for when, value in returns if (day - when).days < TRAILING_DAYS]
        days.append(
            Day(
                **{
                    **vars(cut),
                    "sharpe_ratio": trailing_sharpe(recent),
                    "volatility": trailing_volatility(recent),
                }
            )
        )
        before += cut.daily_pnl
    return days


def _capital_by(day: date, sessions: Sequence[SessionFact], zone: ZoneInfo) -> Decimal:
    return sum(
        (
            session.initial_balance
            for session in sessions
            if session.started_at is not None and session.started_at.astimezone(zone).date() <= day
        ),
        ZERO,
    )


def _cut(day: date, trades: Sequence[TradeFact], starting: Decimal) -> Day:
    pnl = sum((trade.pnl for trade in trades), ZERO)
    winning = sum(trade.pnl > 0 for trade in trades)
    return Day(
        date=day,
        starting_balance=starting,
        ending_balance=starting + pnl,
        daily_pnl=pnl,
        daily_pnl_percentage=percent(pnl, starting),
        total_trades=len(trades),
        winning_trades=winning,
        losing_trades=sum(trade.pnl < 0 for trade in trades),
        win_rate=percent(Decimal(winning), Decimal(len(trades))),
        max_drawdown=max_drawdown_pct(starting, [trade.pnl for trade in trades]),
        sharpe_ratio=None,
        volatility=None,
    )


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """8 places, half-even; None where there is no whole."""
    if whole <= 0:
        return None
    with localcontext() as context:
        context.prec = 60
        return (part / whole * 100).quantize(PLACES, ROUND_HALF_EVEN)


def max_drawdown_pct(starting: Decimal, pnls: Iterable[Decimal]) -> Decimal | None:
    """Of realised equity, from its highest so far, the start included."""
    equity = highest = starting
    deepest: Decimal | None = ZERO if starting > 0 else None
    for pnl in pnls:
        equity += pnl
        highest = max(highest, equity)
        fall = percent(highest - equity, highest)
        if fall is not None and (deepest is None or fall > deepest):
            deepest = fall
    return deepest


@dataclass(frozen=True)
class Sums:
    """What trades come to, exactly."""

    trades: int
    winning_trades: int
    losing_trades: int
    pnl: Decimal
    fees: Decimal
    gains: Decimal
    losses: Decimal
    best: Decimal | None
    worst: Decimal | None


def add_up(trades: Sequence[TradeFact]) -> Sums:
    pnls = [trade.pnl for trade in trades]
    return Sums(
        trades=len(trades),
        winning_trades=sum(pnl > 0 for pnl in pnls),
        losing_trades=sum(pnl < 0 for pnl in pnls),
        pnl=sum(pnls, ZERO),
        fees=sum((trade.fee for trade in trades), ZERO),
        gains=sum((pnl for pnl in pnls if pnl > 0), ZERO),
        losses=-sum((pnl for pnl in pnls if pnl < 0), ZERO),
        best=max(pnls, default=None),
        worst=min(pnls, default=None),
    )
