"""The rules for a valid bar."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.market.bars import Gap, NotABar, WidenedBar, check_time, enclose_body, find_gaps
from shared.strategy.bars import INTERVAL_MS, Bar

HOUR = 3_600_000
PRICES = st.decimals("0.0001", "1000", places=4)


def bar(opened: str, high: str, low: str, close: str, volume: str = "1") -> Bar:
    return Bar(0, *map(Decimal, (opened, high, low, close, volume)))


def test_a_consistent_bar_is_returned_unchanged() -> None:
    whole = bar("100.0", "101.00", "99", "100.5")
    assert enclose_body(whole) is whole


@given(PRICES, PRICES, PRICES, PRICES)
def test_a_widened_bar_encloses_its_open_and_close(
    one: Decimal, two: Decimal, three: Decimal, four: Decimal
) -> None:
    given_bar = Bar(0, one, two, three, four, Decimal(0))
    taken = enclose_body(given_bar)
    assert isinstance(taken, WidenedBar) == (taken is not given_bar)
    assert taken.low <= min(taken.open, taken.close)
    assert taken.high >= max(taken.open, taken.close)
    assert (taken.open, taken.close) == (given_bar.open, given_bar.close)
    assert {taken.high, taken.low} <= {one, two, three, four}


@pytest.mark.parametrize(
    ("given_bar", "reason"),
    [
        (bar("1", "1", "0", "1"), "a price is not above 0"),
        (bar("-1", "1", "1", "1"), "a price is not above 0"),
        (bar("1", "1", "1", "1", "-0.1"), "volume -0.1 is negative"),
        (bar("NaN", "1", "1", "1"), "not finite"),
        (bar("1", "Infinity", "1", "1"), "not finite"),
        (bar("1", "1", "1", "1", "sNaN"), "not finite"),
    ],
)
def test_an_invalid_bar_is_refused_with_the_reason(given_bar: Bar, reason: str) -> None:
    with pytest.raises(NotABar, match=reason):
        enclose_body(given_bar)


@pytest.mark.parametrize("interval", INTERVAL_MS)
def test_a_bar_opens_on_the_grid_of_its_interval(interval: str) -> None:
    step = INTERVAL_MS[interval]
    check_time(1_704_067_200_000 // step * step, step)
    for beyond in (1, step // 2, step - 1):
        with pytest.raises(NotABar, match="past the grid"):
            check_time(20_000 * step + beyond, step)


def test_missing_bars_are_counted_between_existing_ones() -> None:
    assert find_gaps([0, HOUR, 4 * HOUR, 5 * HOUR, 7 * HOUR], HOUR) == [
        Gap(HOUR, 4 * HOUR, 2),
        Gap(5 * HOUR, 7 * HOUR, 1),
    ]
    assert find_gaps([], HOUR) == find_gaps([0], HOUR) == []
