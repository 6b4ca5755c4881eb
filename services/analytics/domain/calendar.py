"""A year of local days, month by month; days without trades are told apart from those that brought nothing."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal, localcontext
from itertools import groupby
from typing import Literal

from services.analytics.domain.days import PRECISION, ZERO
from services.analytics.statistics import compounded_pct

DayStatus = Literal["TRADED", "QUIET", "COMING"]


@dataclass(frozen=True)
class Traded:
    """What a calendar needs of a day with trades."""

    date: date
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int


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
    """Those from `first` to `last`, both included."""
    begin, end = max(date(year, 1, 1), first or date.min), min(date(year, 12, 31), last or date.max)
    return [begin + timedelta(days=number) for number in range((end - begin).days + 1)]


def months_of(dates: Iterable[date], traded: Mapping[date, Traded], today: date) -> list[Month]:
    """Of consecutive dates."""
    return [
        _month(month, [_day(day, traded.get(day), today) for day in of_month])
        for month, of_month in groupby(dates, key=lambda day: day.month)
    ]


def _day(day: date, traded: Traded | None, today: date) -> CalendarDay:
    if traded is None:
        return CalendarDay(day, "COMING" if day > today else "QUIET")
    return CalendarDay(day, "TRADED", traded.daily_pnl, traded.daily_pnl_percentage, traded.total_trades)


def _month(month: int, days: Sequence[CalendarDay]) -> Month:
    with localcontext() as context:
        context.prec = PRECISION
        pnls = [day.daily_pnl for day in days if day.daily_pnl is not None]
        return Month(
            month=month,
            pnl=sum(pnls, ZERO),
            return_pct=compounded_pct([day.daily_pnl_percentage for day in days if day.status == "TRADED"]),
            total_trades=sum(day.total_trades for day in days),
            days_traded=len(pnls),
            winning_days=sum(pnl > 0 for pnl in pnls),
            losing_days=sum(pnl < 0 for pnl in pnls),
            days=days,
        )
