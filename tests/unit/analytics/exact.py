"""Every figure recalculated from the raw trades, in exact fractions, following docs/statistics.md word for word."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import accumulate
from zoneinfo import ZoneInfo

from services.analytics.domain.facts import SessionFact, TradeFact

DIGITS = 60
Figures = dict[str, object]


@dataclass(frozen=True, eq=False)
class World:
    """Trades in order of exit, sessions, and the owner's time zone."""

    trades: Sequence[TradeFact]
    sessions: Sequence[SessionFact]
    zone: ZoneInfo

    def day_of(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def dates(self) -> list[date]:
        return sorted({self.day_of(trade.exit_time) for trade in self.trades})

    def pnls(self, on: Callable[[date], bool]) -> list[Fraction]:
        return [Fraction(trade.pnl) for trade in self.trades if on(self.day_of(trade.exit_time))]

    def deposits(self, on: Callable[[date], bool]) -> list[tuple[datetime, Fraction]]:
        return [(s.started_at, Fraction(s.initial_balance)) for s in self.sessions if on(self.day_of(s.started_at))]

    def withdrawals(self, on: Callable[[date], bool]) -> list[tuple[datetime, Fraction]]:
        ended = [(s.stopped_at, Fraction(s.final_balance or 0)) for s in self.sessions if s.stopped_at]
        return [(moment, amount) for moment, amount in ended if on(self.day_of(moment))]


def total(flows: Iterable[tuple[datetime, Fraction]]) -> Fraction:
    return sum((amount for _, amount in flows), Fraction(0))


@cache
def capital_at_work(world: World, day: date) -> Fraction:
    held = total(world.deposits(lambda d: d < day)) - total(world.withdrawals(lambda d: d < day))
    held += sum(world.pnls(lambda d: d < day))
    deposits, withdrawals = world.deposits(lambda d: d == day), world.withdrawals(lambda d: d == day)
    balances = [
        total(flow for flow in deposits if flow[0] <= moment)
        - total(flow for flow in withdrawals if flow[0] <= moment)
        for moment, _ in deposits
    ]
    return held + max(Fraction(0), *balances, Fraction(0))


def day_figures(world: World, day: date) -> Figures:
    pnls, capital = world.pnls(lambda d: d == day), capital_at_work(world, day)
    starting = total(world.deposits(lambda d: d <= day)) + sum(world.pnls(lambda d: d < day))
    first = max(world.dates()[0], day - timedelta(days=29))
    returns = daily_returns(world, first, day)
    return {
        "starting_balance": starting,
        "ending_balance": starting + sum(pnls),
        "capital_at_work": capital,
        "daily_pnl": sum(pnls),
        "daily_pnl_percentage": percent(Fraction(sum(pnls)), capital),
        "win_rate": percent(Fraction(sum(pnl > 0 for pnl in pnls)), Fraction(len(pnls))),
        "max_drawdown": None if capital <= 0 else percent(deepest([capital, *running(capital, pnls)]), Fraction(1)),
        "sharpe_ratio": sharpe(returns),
        "volatility": volatility(returns),
    }


def period_figures(world: World) -> Figures:
    dates = world.dates()
    capitals = {day: capital_at_work(world, day) for day in dates}
    growth, index = Fraction(1), [Fraction(1)]
    for day in dates:
        pnls = world.pnls(lambda d, day=day: d == day)  # type: ignore[misc]
        index += [growth * (1 + so_far / capitals[day]) for so_far in accumulate(pnls)]
        growth *= 1 + sum(pnls) / capitals[day]
    pnls = world.pnls(lambda _: True)
    gains, losses = sum(p for p in pnls if p > 0), -sum(p for p in pnls if p < 0)
    won, lost, fall = sum(p > 0 for p in pnls), sum(p < 0 for p in pnls), deepest(index)
    returns, days = daily_returns(world, dates[0], dates[-1]), (dates[-1] - dates[0]).days + 1
    return {
        "return_pct": rounded((growth - 1) * 100, 8),
        "max_drawdown_pct": rounded(fall * 100, 8),
        "win_rate_pct": quotient(Fraction(100 * won), Fraction(len(pnls))),
        "profit_factor": quotient(Fraction(gains), Fraction(losses)),
        "expectancy": quotient(Fraction(sum(pnls)), Fraction(len(pnls))),
        "average_win": quotient(Fraction(gains), Fraction(won)),
        "average_loss": quotient(Fraction(losses), Fraction(lost)),
        "sharpe": sharpe(returns),
        "volatility": volatility(returns),
        "sortino": sortino(returns),
        "calmar": calmar(growth, days, fall),
    }


def daily_returns(world: World, first: date, last: date) -> list[Fraction]:
    returns = []
    for ordinal in range(first.toordinal(), last.toordinal() + 1):
        day = date.fromordinal(ordinal)
        pnls = world.pnls(lambda d, day=day: d == day)  # type: ignore[misc]
        if not pnls:
            returns.append(Fraction(0))
        elif (capital := capital_at_work(world, day)) > 0:
            returns.append(sum(pnls) / capital)
    return returns


def running(start: Fraction, pnls: Iterable[Fraction]) -> list[Fraction]:
    return [start + so_far for so_far in accumulate(pnls)]


def deepest(heights: Sequence[Fraction]) -> Fraction:
    """The deepest fall, as a share of the highest value before it."""
    return max(
        (highest - height) / highest for highest, height in zip(accumulate(heights, max), heights, strict=True)
    )


def sharpe(returns: Sequence[Fraction]) -> Decimal | None:
    if len(returns) < 10 or variance(returns) == 0:
        return None
    return root(mean(returns) ** 2 * 365 / variance(returns), mean(returns) < 0)


def volatility(returns: Sequence[Fraction]) -> Decimal | None:
    return None if len(returns) < 10 else root(variance(returns) * 365)


def sortino(returns: Sequence[Fraction]) -> Decimal | None:
    downside = mean([min(each, Fraction(0)) ** 2 for each in returns])
    if len(returns) < 10 or downside == 0:
        return None
    return root(mean(returns) ** 2 * 365 / downside, mean(returns) < 0)


def calmar(growth: Fraction, days: int, fall: Fraction) -> Decimal | None:
    if days < 10 or growth <= 0 or fall == 0:
        return None
    with localcontext() as context:
        context.prec = DIGITS
        yearly = as_decimal(growth) ** (Decimal(365) / days) - 1
        return shown(yearly / as_decimal(fall), 6)


def mean(values: Sequence[Fraction]) -> Fraction:
    return sum(values) / Fraction(len(values))


def variance(values: Sequence[Fraction]) -> Fraction:
    middle = mean(values)
    return sum((value - middle) ** 2 for value in values) / Fraction(len(values) - 1)


def root(square: Fraction, negative: bool = False) -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS
        return shown(as_decimal(square).sqrt() * (-1 if negative else 1), 6)


def as_decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / Decimal(value.denominator)


def shown(value: Decimal, places: int) -> Decimal:
    return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN)


def rounded(value: Fraction, places: int) -> Decimal:
    with localcontext() as context:
        context.prec = DIGITS
        return as_decimal(round(value, places))


def percent(part: Fraction, whole: Fraction) -> Decimal | None:
    return rounded(part / whole * 100, 8) if whole > 0 else None


def quotient(part: Fraction, whole: Fraction) -> Decimal | None:
    return rounded(part / whole, 6) if whole > 0 else None
