"""Trades are grouped by local day, exactly, in whatever order they arrive."""

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.days import Day, EarlierDays, compute_days, max_drawdown_pct
from services.analytics.domain.facts import SessionFact, TradeFact
from services.analytics.domain.local_days import day_start
from services.analytics.domain.quotients import percent
from tests.unit.analytics.facts import at, session, trade

ROME, UTC_ZONE = ZoneInfo("Europe/Rome"), ZoneInfo("UTC")
ZONES = ["UTC", "Europe/Rome", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Asia/Beirut", "America/Havana"]

amounts = st.decimals(min_value=-(10**9), max_value=10**9, places=8, allow_nan=False)
moments = st.integers(0, 90 * 24 * 60).map(lambda minutes: at("2026-02-20 00:00") + timedelta(minutes=minutes))
facts = st.lists(st.builds(trade, moments, amounts), max_size=40)
balances = st.decimals(min_value=1, max_value=10**6, places=8, allow_nan=False)
capitals = st.lists(
    st.builds(SessionFact, balances, moments) | st.builds(SessionFact, balances, moments, balances, moments),
    max_size=6,
)
zones = st.sampled_from(ZONES).map(ZoneInfo)


def test_a_trade_belongs_to_the_local_date_of_its_exit() -> None:
    trades = [trade("2026-06-01 21:59", "1"), trade("2026-06-01 22:00", "10")]
    assert [(day.date, day.daily_pnl) for day in compute_days(trades, [], ROME)] == [
        (date(2026, 6, 1), Decimal(1)),
        (date(2026, 6, 2), Decimal(10)),
    ]


def test_balances_follow_from_capital_and_all_pnl_before() -> None:
    sessions = [session("10000", "2026-01-01 00:00"), session("500.5", "2026-01-03 12:00")]
    trades = [trade("2026-01-01 10:00", "100"), trade("2026-01-03 10:00", "-50.5"), trade("2026-01-05 10:00", "1")]
    days = compute_days(trades, sessions, UTC_ZONE)
    assert [(day.starting_balance, day.ending_balance, day.capital_added) for day in days] == [
        (Decimal(10000), Decimal(10100), Decimal(10000)),
        (Decimal("10600.5"), Decimal(10550), Decimal("500.5")),
        (Decimal(10550), Decimal(10551), Decimal(0)),
    ]
    assert days[0].daily_pnl_percentage == 1


def test_a_trade_is_counted_though_its_session_is_not_yet_known() -> None:
    (day,) = compute_days([trade("2026-01-01 10:00", "-5")], [], UTC_ZONE)
    assert (day.starting_balance, day.ending_balance) == (Decimal(0), Decimal(-5))
    assert day.daily_pnl_percentage is None
    assert (day.total_trades, day.winning_trades, day.losing_trades) == (1, 0, 1)


def test_the_drawdown_is_from_the_highest_equity_within_the_day() -> None:
    trades = [trade(f"2026-01-01 0{hour}:00", pnl) for hour, pnl in enumerate(["100", "-220", "50", "-40"])]
    (day,) = compute_days(trades, [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert day.max_drawdown == Decimal(20)  # from 1100 to 880
    assert max_drawdown_pct(Decimal(0), []) is None
    assert max_drawdown_pct(Decimal(100), []) == 0


def test_statistics_start_on_the_tenth_day_and_cover_thirty_days() -> None:
    start = at("2026-01-01 12:00")
    trades = [trade(start + timedelta(days=number), "10" if number % 2 else "-5") for number in range(45)]
    days = compute_days(trades, [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert [day.sharpe_ratio is None for day in days] == [True] * 9 + [False] * 36
    assert [day.volatility is None for day in days] == [True] * 9 + [False] * 36
    # The same capital and the same thirty returns: day 45 does not depend on the first fifteen.
    capital = str(days[15].starting_balance)
    later = compute_days(trades[15:], [session(capital, "2026-01-01 00:00")], UTC_ZONE)
    assert (days[-1].sharpe_ratio, days[-1].volatility) == (later[-1].sharpe_ratio, later[-1].volatility)
    quiet = compute_days([trades[0], trades[40]], [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert quiet[1].volatility is not None  # days without trades have a return of zero
    assert quiet[1].sharpe_ratio is not None


def test_equal_returns_have_no_sharpe() -> None:
    trades = [trade(at("2026-01-01 12:00") + timedelta(days=n), "0") for n in range(12)]
    days = compute_days(trades, [session("1000", "2026-01-01 00:00")], UTC_ZONE)
    assert days[-1].volatility == 0
    assert days[-1].sharpe_ratio is None


@given(facts, capitals, zones, st.randoms())
def test_the_order_in_which_facts_arrive_does_not_matter(
    trades: list[TradeFact], sessions: list[SessionFact], zone: ZoneInfo, shuffle: Random
) -> None:
    expected = compute_days(trades, sessions, zone)
    shuffle.shuffle(trades)
    shuffle.shuffle(sessions)
    assert compute_days(trades, sessions, zone) == expected


@given(facts, capitals, zones)
def test_days_equal_a_naive_sum_to_the_last_digit(
    trades: list[TradeFact], sessions: list[SessionFact], zone: ZoneInfo
) -> None:
    days = compute_days(trades, sessions, zone)
    assert [day.date for day in days] == sorted({each.exit_time.astimezone(zone).date() for each in trades})
    for day in days:
        within = [each for each in trades if each.exit_time.astimezone(zone).date() == day.date]
        before = [each for each in trades if each.exit_time.astimezone(zone).date() < day.date]
        capital = [each for each in sessions if each.started_at.astimezone(zone).date() <= day.date]
        starting = sum(Fraction(each.pnl) for each in before) + sum(Fraction(s.initial_balance) for s in capital)
        pnl = sum(Fraction(each.pnl) for each in within)
        assert (Fraction(day.starting_balance), Fraction(day.daily_pnl)) == (starting, pnl)
        assert Fraction(day.ending_balance) == starting + pnl
        assert day.total_trades == len(within)


@given(facts, capitals, zones, st.dates(date(2026, 2, 19), date(2026, 5, 25)))
@settings(max_examples=200)
def test_computing_from_any_day_equals_computing_everything(
    trades: list[TradeFact], sessions: list[SessionFact], zone: ZoneInfo, since: date
) -> None:
    everything = compute_days(trades, sessions, zone)
    later = [each for each in trades if each.exit_time >= day_start(since, zone).moment]
    assert compute_days(later, sessions, zone, _earlier_days(everything, since)) == [
        day for day in everything if day.date >= since
    ]


def _earlier_days(days: list[Day], since: date) -> EarlierDays | None:
    before = [day for day in days if day.date < since]
    if not before:
        return None
    recent = {
        day.date: (day.daily_pnl, day.capital_at_work) for day in before if since - day.date <= timedelta(days=30)
    }
    return EarlierDays(before[0].date, before[-1].date, before[-1].ending_balance, recent)


@given(amounts, amounts)
def test_a_percentage_is_right_to_eight_places(part: Decimal, whole: Decimal) -> None:
    shown = percent(part, whole)
    if whole <= 0:
        assert shown is None
    else:
        assert shown is not None
        assert abs(Fraction(shown) - Fraction(part) / Fraction(whole) * 100) <= Fraction(1, 2 * 10**8)


def test_without_trades_there_are_no_days() -> None:
    assert compute_days([], [session("1", "2026-01-01 00:00")], UTC_ZONE) == []
