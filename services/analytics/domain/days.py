"""Computes days from facts in one pure function, so that the order in which facts arrive does not matter."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal, localcontext
from typing import NamedTuple
from zoneinfo import ZoneInfo

from services.analytics.domain.capital import NO_PRIOR, TradingDay, flows_of, trading_days
from services.analytics.domain.facts import ClosedTrade, SessionFact, local_date
from services.analytics.domain.quotients import PRECISION, ZERO, percent
from services.analytics.statistics import trailing_risk
from shared.statistics import MIN_DAYS, fraction

TRAILING_DAYS = 30
LOOKBACK = timedelta(days=TRAILING_DAYS - 1)


class Day(NamedTuple):
    """A local day with trades. Balances and pnl are exact, percentages have 8 places; the rest are statistics.

    Percentages are of the capital at work. `capital_added` and `capital_taken` are the flows since the previous day
    with trades.
    """

    date: date
    starting_balance: Decimal
    ending_balance: Decimal
    capital_at_work: Decimal
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal
    max_drawdown: Decimal | None
    sharpe_ratio: Decimal | None
    volatility: Decimal | None
    capital_added: Decimal
    capital_taken: Decimal


@dataclass(frozen=True)
class EarlierDays:
    """The days before the first one to compute: first and last date, and the last balance.

    `results` has pnl and capital at work of the last 29 days.
    """

    first_date: date
    last_date: date
    ending_balance: Decimal
    results: Mapping[date, tuple[Decimal, Decimal]] = field(default_factory=dict)


def compute_days(
    trades: Iterable[ClosedTrade],
    sessions: Sequence[SessionFact],
    zone: ZoneInfo,
    earlier: EarlierDays | None = None,
) -> list[Day]:
    """Return the days of these trades, ascending: all, or those after the `earlier` days."""
    flows = flows_of(sessions)
    with localcontext() as context:
        context.prec = PRECISION
        if earlier is None:
            computed = trading_days(trades, flows, zone)
        else:
            later = [trade for trade in trades if local_date(trade.exit_time, zone) > earlier.last_date]
            dated = [(local_date(flow.moment, zone) > earlier.last_date, flow) for flow in flows]
            prior = NO_PRIOR.with_flows(flow for is_later, flow in dated if not is_later)
            prior = prior._replace(pnl=earlier.ending_balance - prior.added)
            computed = trading_days(later, [flow for is_later, flow in dated if is_later], zone, prior)
        returns = _returns(computed, earlier)
        first = earlier.first_date if earlier else min(returns, default=date.min)
        return [_day(day, _trailing_returns(returns, first, day.date)) for day in computed]


def _trailing_returns(returns: Mapping[date, float | None], first: date, last: date) -> list[float]:
    """Return the returns of the last 30 days, none of them before `first`; none if too few for a ratio."""
    if (last - first).days + 1 < MIN_DAYS:
        return []
    return calendar_returns(returns, last - min(LOOKBACK, last - first), last)


def _returns(days: Sequence[TradingDay], earlier: EarlierDays | None) -> dict[date, float | None]:
    results = dict(earlier.results) if earlier else {}
    results |= {day.date: (day.pnl, day.capital_at_work) for day in days}
    return {day: fraction(pnl, capital) for day, (pnl, capital) in results.items()}


def _day(day: TradingDay, recent: Sequence[float]) -> Day:
    pnls = [trade.pnl for trade in day.trades]
    winning = sum([each > ZERO for each in pnls])
    sharpe, volatility = trailing_risk(recent)
    return Day(
        date=day.date,
        starting_balance=day.starting_balance,
        ending_balance=day.starting_balance + day.pnl,
        capital_at_work=day.capital_at_work,
        daily_pnl=day.pnl,
        daily_pnl_percentage=percent(day.pnl, day.capital_at_work),
        total_trades=len(pnls),
        winning_trades=winning,
        losing_trades=sum([each < ZERO for each in pnls]),
        win_rate=percent(Decimal(winning), Decimal(len(pnls))) or ZERO,
        max_drawdown=max_drawdown_pct(day.capital_at_work, pnls),
        sharpe_ratio=sharpe,
        volatility=volatility,
        capital_added=day.added,
        capital_taken=day.taken,
    )


def calendar_returns(returns: Mapping[date, float | None], first: date, last: date) -> list[float]:
    """Return the returns of the calendar days from `first` to `last`: 0 without trades, left out if undefined."""
    days = map(date.fromordinal, range(first.toordinal(), last.toordinal() + 1))
    return [value for day in days if (value := returns.get(day, 0.0)) is not None]


def max_drawdown_pct(starting: Decimal, pnls: Iterable[Decimal]) -> Decimal | None:
    """Return the maximum drawdown of realised equity within a day, in percent; None without capital.

    It is measured from the highest equity so far, including the start.
    """
    equity = highest = lowest = starting
    deepest = percent(ZERO, starting)
    with localcontext() as context:
        context.prec = PRECISION
        for pnl in pnls:
            equity += pnl
            if equity > highest:
                highest = lowest = equity
            elif equity < lowest:  # only a new low since the highest can be the deepest
                drawdown = percent(highest - equity, highest)
                if drawdown is not None and deepest is not None:
                    lowest, deepest = equity, max(deepest, drawdown)
    return deepest
