"""Depth and length of drawdowns, calculated by hand."""

from datetime import date
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.capital import TradingDay
from services.analytics.domain.days import max_drawdown_pct
from services.analytics.domain.drawdowns import Drawdown, find_drawdowns
from services.analytics.domain.streaks import Streaks, find_streaks
from tests.unit.analytics.facts import trade

pnls = st.decimals(min_value=-(10**3), max_value=10**3, places=2, allow_nan=False)


def days_of(capital: str, **by_day: str) -> list[TradingDay]:
    """`d3="10 -5"`: two trades on the third; `d4="500: 10"`: one trade, with the capital set to 500."""
    days, held = [], Decimal(capital)
    for name, text in by_day.items():
        at_work, _, pnls = text.rpartition(":")
        trades = [trade("2026-01-01 10:00", pnl) for pnl in pnls.split()]
        pnl = sum((each.pnl for each in trades), Decimal(0))
        held = Decimal(at_work) if at_work else held
        days.append(TradingDay(on(int(name[1:])), trades, pnl, held, held, Decimal(0), Decimal(0)))
        held += pnl
    return days


def on(day: int) -> date:
    return date(2026, 1, day)


def test_the_deepest_and_the_longest_drawdown_can_differ() -> None:
    """1000 → 1100 on the 2nd, 990 on the 3rd, 1100 again on the 4th; 1089 on the 5th, 1200 on the 15th."""
    found = find_drawdowns(days_of("1000", d1="0", d2="100", d3="-110", d4="110", d5="-11", d15="111"))
    assert found.deepest == Drawdown(Fraction(10, 100), on(2), on(3), on(4), 2)
    assert found.longest == Drawdown(Fraction(1, 100), on(4), on(5), on(15), 11)


def test_a_drawdown_without_recovery_lasts_until_the_last_trade() -> None:
    found = find_drawdowns(days_of("1000", d1="-100", d2="-50", d9="20"))
    assert found.deepest == found.longest == Drawdown(Fraction(15, 100), on(1), on(2), None, 8)


def test_a_drawdown_within_a_day_lasts_zero_days() -> None:
    found = find_drawdowns(days_of("100", d1="10 -11 12"))
    assert found.deepest == Drawdown(Fraction(10, 100), on(1), on(1), on(1), 0)


def test_without_capital_or_without_a_fall_there_is_no_drawdown() -> None:
    assert find_drawdowns(days_of("0", d1="-1")).deepest is None
    assert find_drawdowns(days_of("100", d1="1", d2="1")).deepest is None
    assert find_drawdowns([]).longest is None


def test_added_or_withdrawn_capital_is_no_gain_and_no_loss() -> None:
    """+10 % of 1000; then 10 % of 50000 lost, and a ninth of 500 gained: back at the peak."""
    found = find_drawdowns(days_of("1000", d1="100", d2="50000: -5000", d5="500: 55 0.5 0.1"))
    assert found.deepest == Drawdown(Fraction(1, 10), on(1), on(2), on(5), 4)


def test_a_fall_is_in_proportion_to_the_capital_of_its_day() -> None:
    """A third lost, then half of the rest: a drawdown of two thirds, whatever the amounts of money."""
    found = find_drawdowns(days_of("900", d1="-300", d2="10: -5"))
    assert found.deepest == Drawdown(Fraction(2, 3), on(1), on(2), None, 1)
    assert found.deepest.pct == Decimal("66.66666667")


def test_a_day_without_capital_is_skipped_and_a_total_loss_starts_a_new_peak() -> None:
    found = find_drawdowns(days_of("100", d1="-10", d2="0: -50", d3="90: -45", d4="0: 1", d9="1000: 1"))
    assert found.deepest == Drawdown(Fraction(55, 100), on(1), on(3), None, 8)
    bust = find_drawdowns(days_of("100", d1="-120", d2="-7", d3="1000: 0", d4="-10"))
    assert bust.deepest == Drawdown(Fraction(12, 10), on(1), on(1), None, 0)
    assert bust.longest == Drawdown(Fraction(1, 100), on(3), on(4), None, 1)


def test_of_two_falls_that_round_to_the_same_value_the_deeper_is_the_deepest() -> None:
    found = find_drawdowns(days_of("1000", d1="-100 200", d2="-110.000000001"))
    assert found.deepest is not None
    assert (found.deepest.pct, found.deepest.trough_date) == (Decimal(10), on(2))


@given(st.lists(pnls, max_size=31))
def test_the_deepest_drawdown_equals_the_maximum_drawdown(values: list[Decimal]) -> None:
    found = find_drawdowns(days_of("40000", **{f"d{day}": str(value) for day, value in enumerate(values, 1)}))
    deepest = found.deepest.pct if found.deepest else Decimal(0)
    assert deepest == max_drawdown_pct(Decimal(40_000), values)
    if found.deepest and found.longest:
        assert found.longest.days >= found.deepest.days
        assert found.deepest.peak_date <= found.deepest.trough_date


@pytest.mark.parametrize(
    ("values", "streaks"),
    [
        ("", Streaks(0, 0, 0)),
        ("1 2 -1 3", Streaks(2, 1, 1)),
        ("1 0 1 -1 -1 -1", Streaks(1, 3, -3)),
        ("-1 0", Streaks(0, 1, 0)),
    ],
)
def test_streaks_are_of_trades_in_a_row(values: str, streaks: Streaks) -> None:
    assert find_streaks(map(Decimal, values.split())) == streaks
