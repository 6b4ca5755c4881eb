"""How far and how long realised equity stood below its highest."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from services.analytics.domain.days import ZERO, percent


@dataclass(frozen=True)
class Drawdown:
    """From the day of the highest equity to the one on which it was reached again; None: not yet."""

    pct: Decimal
    peak_date: date
    trough_date: date
    recovery_date: date | None
    days: int


@dataclass(frozen=True)
class Drawdowns:
    """The first of the deepest, and the first of the longest."""

    deepest: Drawdown | None
    longest: Drawdown | None


def find_drawdowns(starting: Decimal, pnls: Iterable[tuple[date, Decimal]]) -> Drawdowns:
    """`pnls` in order of exit. The start is a height like any other, reached on the day of the first trade; what is
    not recovered lasts until the day of the last. A height of nothing or less has no percentage and is passed over.
    """
    deepest = longest = None
    for fall in _falls(starting, pnls):
        if deepest is None or fall.pct > deepest.pct:
            deepest = fall
        if longest is None or fall.days > longest.days:
            longest = fall
    return Drawdowns(deepest, longest)


def _falls(starting: Decimal, pnls: Iterable[tuple[date, Decimal]]) -> Iterable[Drawdown]:
    equity = highest = lowest = starting
    peak = trough = day = None
    for day, pnl in pnls:
        peak = peak or day
        equity += pnl
        if equity < lowest:
            lowest, trough = equity, day
        elif equity >= highest:
            yield from _fall(highest, lowest, peak, trough, day, day)
            highest = lowest = equity
            peak, trough = day, None
    if peak is not None and day is not None:
        yield from _fall(highest, lowest, peak, trough, None, day)


def _fall(
    highest: Decimal, lowest: Decimal, peak: date, trough: date | None, recovery: date | None, end: date
) -> Iterable[Drawdown]:
    pct = percent(highest - lowest, highest)
    if trough is not None and pct is not None and pct > ZERO:
        yield Drawdown(pct, peak, trough, recovery, (end - peak).days)
