"""How far and how long realised equity stood below its highest."""

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
    """From the day of the highest equity to the one on which it was reached again; None: not yet."""

    share: Fraction  # of the highest
    peak_date: date
    trough_date: date
    recovery_date: date | None
    days: int

    @property
    def pct(self) -> Decimal | None:
        return rounded_percent(self.share)


@dataclass(frozen=True)
class Drawdowns:
    """The first of the deepest, and the first of the longest."""

    deepest: Drawdown | None
    longest: Drawdown | None


def find_drawdowns(days: Iterable[TradingDay]) -> Drawdowns:
    """Of equity after each trade. A day begins with its capital at work: capital that came or went since the day
    before is no rise and no fall, so the height before it is taken in proportion.

    The first day's start is a height like any other; what is not recovered lasts until the last trade. A day
    without capital at work is passed over; after all is lost the next capital is a height of its own.
    """
    deepest = longest = None
    with localcontext() as context:
        context.prec = PRECISION
        for fall in _falls(days):
            if deepest is None or fall.share > deepest.share:
                deepest = fall
            if longest is None or fall.days > longest.days:
                longest = fall
    return Drawdowns(deepest, longest)


@dataclass
class _Curve:
    """The height, the lowest since, and equity now, in terms of the capital at work now."""

    highest: Equity
    lowest: Equity
    equity: Decimal
    peak: date
    last: date
    trough: date | None = None

    def turn_to(self, day: TradingDay) -> None:
        if day.capital_at_work != self.equity:
            scale = Fraction(day.capital_at_work) / Fraction(self.equity)
            self.highest, self.lowest = Fraction(self.highest) * scale, Fraction(self.lowest) * scale
        self.equity, self.last = day.capital_at_work, day.date

    def fall(self, recovery: date | None) -> Iterator[Drawdown]:
        if self.trough is not None:
            share = 1 - Fraction(self.lowest) / Fraction(self.highest)
            yield Drawdown(share, self.peak, self.trough, recovery, (self.last - self.peak).days)


def _falls(days: Iterable[TradingDay]) -> Iterator[Drawdown]:
    curve: _Curve | None = None
    for day in days:
        capital = day.capital_at_work
        if capital <= 0:
            continue
        if curve is None:
            curve = _Curve(capital, capital, capital, day.date, day.date)
        curve.turn_to(day)
        for trade in day.trades:
            curve.equity += trade.pnl
            if curve.equity < curve.lowest:
                curve.lowest, curve.trough = curve.equity, day.date
            elif curve.equity >= curve.highest:
                yield from curve.fall(day.date)
                curve = _Curve(curve.equity, curve.equity, curve.equity, day.date, day.date)
        if curve.equity <= 0:
            yield from curve.fall(None)
            curve = None
    if curve is not None:
        yield from curve.fall(None)
