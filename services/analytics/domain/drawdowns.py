"""Depth and duration of drawdowns of realised equity."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal, localcontext
from fractions import Fraction

from services.analytics.domain.capital import TradingDay
from services.analytics.domain.quotients import PRECISION, rounded_percent

Equity = Decimal | Fraction


@dataclass(frozen=True)
class Drawdown:
    """A drawdown from the day of its peak to the day of recovery, or to the last trade if it has not recovered."""

    share: Fraction  # of the peak
    peak_date: date
    trough_date: date
    recovery_date: date | None
    days: int

    @property
    def pct(self) -> Decimal | None:
        return rounded_percent(self.share)


@dataclass(frozen=True)
class Drawdowns:
    """The deepest and the longest drawdown; of equal ones the first."""

    deepest: Drawdown | None
    longest: Drawdown | None


def find_drawdowns(days: Iterable[TradingDay]) -> Drawdowns:
    """Find the drawdowns of equity after each trade.

    A day begins with its capital at work. Capital added or taken since the day before is neither gain nor loss, so
    the previous peak is scaled in proportion. The start of the first day counts as a peak. A drawdown without
    recovery lasts until the last trade. Days without capital at work are skipped. After a total loss the next
    capital begins a new curve.
    """
    deepest = longest = None
    with localcontext() as context:
        context.prec = PRECISION
        for drawdown in _iterate_drawdowns(days):
            if deepest is None or drawdown.share > deepest.share:
                deepest = drawdown
            if longest is None or drawdown.days > longest.days:
                longest = drawdown
    return Drawdowns(deepest, longest)


@dataclass
class _Curve:
    """The peak, the lowest equity since, and current equity, all scaled to the current capital at work."""

    highest: Equity
    lowest: Equity
    equity: Decimal
    peak: date
    last: date
    trough: date | None = None

    def start_day(self, day: TradingDay) -> None:
        if day.capital_at_work != self.equity:
            scale = Fraction(day.capital_at_work) / Fraction(self.equity)
            self.highest, self.lowest = Fraction(self.highest) * scale, Fraction(self.lowest) * scale
        self.equity, self.last = day.capital_at_work, day.date

    def drawdown(self, recovery: date | None) -> Iterator[Drawdown]:
        if self.trough is not None:
            share = 1 - Fraction(self.lowest) / Fraction(self.highest)
            yield Drawdown(share, self.peak, self.trough, recovery, (self.last - self.peak).days)


def _iterate_drawdowns(days: Iterable[TradingDay]) -> Iterator[Drawdown]:
    curve: _Curve | None = None
    for day in days:
        capital = day.capital_at_work
        if capital <= 0:
            continue
        if curve is None:
            curve = _Curve(capital, capital, capital, day.date, day.date)
        curve.start_day(day)
        for trade in day.trades:
            curve.equity += trade.pnl
            if curve.equity < curve.lowest:
                curve.lowest, curve.trough = curve.equity, day.date
            elif curve.equity >= curve.highest:
                yield from curve.drawdown(day.date)
                curve = _Curve(curve.equity, curve.equity, curve.equity, day.date, day.date)
        if curve.equity <= 0:
            yield from curve.drawdown(None)
            curve = None
    if curve is not None:
        yield from curve.drawdown(None)
