"""A year of local days by month. Days without trades are distinguished from days with a pnl of zero."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Literal

from services.analytics.domain.growth import growth_of
from services.analytics.domain.quotients import PRECISION, RATIO_PLACES, ZERO, rounded_percent

DayStatus = Literal["TRADED", "QUIET", "COMING"]


@dataclass(frozen=True)
class TradedDay:
    """A day with trades, as the calendar needs it. Days computed by an earlier version have no capital at work."""

    date: date
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    capital_at_work: Decimal | None


@dataclass(frozen=True)
class CalendarDay:
    date: date
    status: DayStatus
    daily_pnl: Decimal | None = None
    daily_pnl_percentage: Decimal | None = None
    total_trades: int = 0


@dataclass(frozen=True)
class Month:
    month: int
    pnl: Decimal
    return_pct: Decimal | None
    total_trades: int
    days_traded: int
    winning_days: int
    losing_days: int
    days: Sequence[CalendarDay]


def days_of_year(year: int, first: date | None, last: date | None) -> list[date]:
    """Return the dates of a year from `first` to `last`, both inclusive."""
    begin, end = max(date(year, 1, 1), first or date.min), min(date(year, 12, 31), last or date.max)
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


def months_of(dates: Iterable[date], traded: Mapping[date, TradedDay], today: date) -> list[Month]:
    """Group consecutive dates by month."""
    by_month = groupby(dates, key=lambda day: day.month)
    return [_month(month, list(of_month), traded, today) for month, of_month in by_month]


def _day(day: date, traded: TradedDay | None, today: date) -> CalendarDay:
    if traded is None:
        return CalendarDay(day, "COMING" if day > today else "QUIET")
    return CalendarDay(day, "TRADED", traded.daily_pnl, traded.daily_pnl_percentage, traded.total_trades)


def _month(month: int, dates: Sequence[date], traded: Mapping[date, TradedDay], today: date) -> Month:
    rows = [traded[day] for day in dates if day in traded]
    with localcontext() as context:
        context.prec = PRECISION
        return Month(
            month=month,
            pnl=sum((row.daily_pnl for row in rows), ZERO),
            return_pct=_return_pct(rows),
            total_trades=sum(row.total_trades for row in rows),
            days_traded=len(rows),
            winning_days=sum(row.daily_pnl > 0 for row in rows),
            losing_days=sum(row.daily_pnl < 0 for row in rows),
            days=[_day(day, traded.get(day), today) for day in dates],
        )


def _return_pct(rows: Sequence[TradedDay]) -> Decimal | None:
    """Compound the unrounded daily returns; None if one of them is undefined."""
    growth = growth_of((row.capital_at_work or ZERO, row.daily_pnl) for row in rows)
    return None if growth is None else rounded_percent(growth - 1, RATIO_PLACES)
