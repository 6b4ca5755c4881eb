"""Histories calculated by hand from the definitions in docs/statistics.md, with every column of every day."""

import math
from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from services.analytics.domain.days import Day, compute_days
from tests.unit.analytics.facts import at, session, trade

ROME, UTC_ZONE = ZoneInfo("Europe/Rome"), ZoneInfo("UTC")


def shown(day: Day, *names: str) -> tuple[str, ...]:
    return tuple(str(getattr(day, name)) for name in names)


def test_a_day_of_23_hours_with_every_column() -> None:
    """On 2026-03-29 Rome goes from 02:00 to 03:00: the day is from 23:00 to 22:00 UTC."""
    trades = [
        trade("2026-03-28 22:59", "10"),
        trade("2026-03-28 23:00", "20.2"),
        trade(at("2026-03-29 21:59") + timedelta(seconds=59), "-30.3"),
        trade("2026-03-29 22:00", "5"),
    ]
    before, short, after = compute_days(trades, [session("1000", "2026-03-27 10:00")], ROME)
    assert shown(before, "date", "ending_balance", "daily_pnl_percentage") == ("2026-03-28", "1010", "1.00000000")
    assert {name: str(value) for name, value in short._asdict().items()} == {
        "date": "2026-03-29",
        "starting_balance": "1010",
        "ending_balance": "999.9",
        "capital_at_work": "1010",
        "daily_pnl": "-10.1",
        "daily_pnl_percentage": "-1.00000000",
        "total_trades": "2",
        "winning_trades": "1",
        "losing_trades": "1",
        "win_rate": "50.00000000",
        "max_drawdown": "2.94117647",  # 30.3 of 1030.2, a 34th
        "sharpe_ratio": "None",
        "volatility": "None",
        "capital_added": "0",
        "capital_taken": "0",
    }
    assert shown(after, "date", "starting_balance", "daily_pnl_percentage") == ("2026-03-30", "999.9", "0.50005001")


def test_a_day_of_25_hours_includes_the_repeated_hour_twice() -> None:
    """On 2026-10-25 Rome goes from 03:00 back to 02:00: the day is from 22:00 to 23:00 UTC."""
    times = ["10-24 21:59", "10-24 22:00", "10-25 00:30", "10-25 01:30", "10-25 22:59", "10-25 23:00"]
    trades = [trade(f"2026-{time}", str(10**number)) for number, time in enumerate(times)]
    days = compute_days(trades, [session("1000", "2026-10-01 00:00")], ROME)
    assert [(day.date.day, int(day.daily_pnl)) for day in days] == [(24, 1), (25, 11110), (26, 100000)]


def test_capital_of_starting_and_stopping_sessions_is_a_flow_and_no_gain() -> None:
    """A starts with 1,000, wins 100 and returns 1,100; B starts with 500, wins 16 and returns 516 on a day without
    trades; C starts with 200."""
    sessions = [
        session("1000", "2026-01-01 09:00", "1100", "2026-01-01 18:00"),
        session("500", "2026-01-03 09:00", "516", "2026-01-04 09:00"),
        session("200", "2026-01-05 09:00"),
    ]
    trades = [
        trade("2026-01-01 10:00", "100"),
        trade("2026-01-03 10:00", "16"),
        trade("2026-01-05 12:00", "-18.16"),
    ]
    columns = ("starting_balance", "capital_at_work", "daily_pnl_percentage", "ending_balance")
    days = compute_days(trades, sessions, UTC_ZONE)
    assert [shown(day, *columns) for day in days] == [
        ("1000", "1000", "10.00000000", "1100"),
        ("1600", "500", "3.20000000", "1616"),
        ("1816", "200", "-9.08000000", "1797.84"),
    ]
    assert [shown(day, "capital_added", "capital_taken") for day in days] == [
        ("1000", "1100"),
        ("500", "0"),
        ("200", "516"),
    ]


def test_a_flow_belongs_to_the_local_day_of_its_time() -> None:
    """23:30 UTC is the next day in Rome."""
    sessions = [session("1000", "2026-01-01 23:30", "990", "2026-01-03 23:30"), session("7", "2026-01-02 23:00")]
    trades = [trade(f"2026-01-0{number} 12:00", "1") for number in (1, 2, 4)]
    columns = ("date", "starting_balance", "capital_added", "capital_taken")
    assert [shown(day, *columns) for day in compute_days(trades, sessions, ROME)] == [
        ("2026-01-01", "0", "0", "0"),
        ("2026-01-02", "1001", "1000", "0"),
        ("2026-01-04", "1009", "7", "990"),
    ]


def test_a_trade_before_its_session_counts_and_has_no_percentage_yet() -> None:
    trades = [trade("2026-01-01 10:00", "-5"), trade("2026-01-02 10:00", "10")]
    first, second = compute_days(trades, [session("100", "2026-01-02 00:00")], UTC_ZONE)
    columns = ("starting_balance", "ending_balance", "daily_pnl_percentage")
    assert shown(first, *columns) == ("0", "-5", "None")
    assert shown(second, "starting_balance", "ending_balance", "daily_pnl_percentage") == (
        "95",
        "105",
        "10.52631579",
    )


def test_volatility_and_sharpe_of_ten_days_calculated_by_hand() -> None:
    """The balance alternately loses and gains 1 %: the mean return is 0, the sample deviation 1 % × √(10/9)."""
    balance, trades = Decimal(1000), []
    for number in range(11):
        pnl = balance * (1 if number % 2 else -1) / 100
        trades.append(trade(at("2026-01-01 12:00") + timedelta(days=number), pnl))
        balance += pnl
    days = compute_days(trades, [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert [day.volatility for day in days[:9]] == [None] * 9
    assert days[9].sharpe_ratio == 0
    assert days[9].volatility == Decimal(str(round(0.01 * math.sqrt(10 / 9) * math.sqrt(365), 6)))
    eleven = math.sqrt((5 * (1 + 1 / 11) ** 2 + 6 * (1 - 1 / 11) ** 2) / 10)  # five +1 and six -1 around -1/11
    assert days[10].sharpe_ratio == Decimal(str(round(-1 / 11 / eleven * math.sqrt(365), 6)))


def test_days_without_trades_have_a_return_of_zero() -> None:
    """A gain of 1 % on the first of ten days: mean 0.1 %, deviation 1 % × √((0.9² + 9 × 0.1²) / 9) = 1 % × √0.1."""
    trades = [trade("2026-01-01 12:00", "10"), trade("2026-01-10 12:00", "0")]
    days = compute_days(trades, [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert days[1].volatility == Decimal(str(round(0.01 * math.sqrt(0.1) * math.sqrt(365), 6)))
    assert days[1].sharpe_ratio == Decimal(str(round(0.001 / (0.01 * math.sqrt(0.1)) * math.sqrt(365), 6)))
