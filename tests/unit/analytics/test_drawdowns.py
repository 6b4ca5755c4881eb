"""How deep and how long, worked out by hand."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.days import max_drawdown_pct
from services.analytics.domain.drawdowns import Drawdown, find_drawdowns
from services.analytics.domain.streaks import Streaks, find_streaks

pnls = st.decimals(min_value=-(10**3), max_value=10**3, places=2, allow_nan=False)


def points(**by_day: str) -> list[tuple[date, Decimal]]:
    """`d3="10 -5"`: two trades on the third."""
    return [
        (date(2026, 1, int(day[1:])), Decimal(pnl)) for day, several in by_day.items() for pnl in several.split()
    ]


def on(day: int) -> date:
    return date(2026, 1, day)


def test_the_deepest_and_the_longest_are_two() -> None:
    """1000 → 1100 on the 2nd, 990 on the 3rd, 1100 again on the 4th; 1089 on the 5th, 1200 on the 15th."""
    found = find_drawdowns(Decimal(1000), points(d1="0", d2="100", d3="-110", d4="110", d5="-11", d15="111"))
    assert found.deepest == Drawdown(Decimal(10), on(2), on(3), on(4), 2)
    assert found.longest == Drawdown(Decimal(1), on(4), on(5), on(15), 11)


def test_what_is_not_recovered_lasts_until_the_last_trade() -> None:
    found = find_drawdowns(Decimal(1000), points(d1="-100", d2="-50", d9="20"))
    assert found.deepest == found.longest == Drawdown(Decimal(15), on(1), on(2), None, 8)


def test_a_fall_within_a_day_is_one_of_no_days() -> None:
    found = find_drawdowns(Decimal(100), points(d1="10 -11 12"))
    assert found.deepest == Drawdown(Decimal(10), on(1), on(1), on(1), 0)


def test_without_capital_or_without_a_fall_there_is_none() -> None:
    assert find_drawdowns(Decimal(0), points(d1="-1")).deepest is None
    assert find_drawdowns(Decimal(100), points(d1="1", d2="1")).deepest is None
    assert find_drawdowns(Decimal(100), []).longest is None


@given(st.lists(pnls, max_size=40))
def test_the_deepest_is_the_maximum_that_is_shown(values: list[Decimal]) -> None:
    days = [(on(1) + timedelta(days=number), value) for number, value in enumerate(values)]
    found = find_drawdowns(Decimal(10_000), days)
    deepest = found.deepest.pct if found.deepest else Decimal(0)
    assert deepest == max_drawdown_pct(Decimal(10_000), values)
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
