"""A year of days: every day is listed, with its status."""

from datetime import date
from decimal import Decimal

from services.analytics.domain.calendar import TradedDay, days_of_year, months_of

TODAY = date(2028, 3, 10)


def traded(month: int, day: int, pnl: str, capital: str | None) -> TradedDay:
    at_work = None if capital is None else Decimal(capital)
    return TradedDay(date(2028, month, day), Decimal(pnl), None, 1, at_work)


def test_a_year_has_twelve_months_and_its_days() -> None:
    months = months_of(days_of_year(2028, None, None), {}, TODAY)
    assert [month.month for month in months] == list(range(1, 13))
    assert [len(month.days) for month in months[:4]] == [31, 29, 31, 30]


def test_a_day_without_trades_is_not_a_day_with_no_profit() -> None:
    rows = {row.date: row for row in (traded(3, 9, "0", "500"), traded(3, 10, "5", "500"))}
    march = months_of(days_of_year(2028, None, None), rows, TODAY)[2]
    assert [(day.status, day.daily_pnl) for day in march.days[7:11]] == [
        ("QUIET", None),
        ("TRADED", 0),
        ("TRADED", 5),
        ("COMING", None),
    ]
    assert (march.days_traded, march.winning_days, march.losing_days) == (2, 1, 0)
    assert march.pnl == 5


def test_a_month_compounds_its_days() -> None:
    """+10 % and then -10 % is -1 %."""
    rows = {
        row.date: row
        for row in (traded(1, 3, "100", "1000"), traded(1, 4, "-2200", "22000"), traded(2, 1, "1", None))
    }
    january, february, march = months_of(days_of_year(2028, None, None), rows, TODAY)[:3]
    assert january.return_pct == -1
    assert january.total_trades == 2
    assert february.return_pct is None
    assert march.return_pct == 0


def test_days_outside_of_the_period_are_left_out() -> None:
    dates = days_of_year(2028, date(2028, 1, 30), date(2028, 2, 2))
    assert [len(month.days) for month in months_of(dates, {}, TODAY)] == [2, 2]
    assert days_of_year(2028, date(2029, 1, 1), None) == []
