from decimal import Decimal, Inexact
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.strategy.bars import Terms
from shared.strategy.decimals import exact, floor_quotient, quantised_quotient, round_to_tick
from tests.unit.strategy.scenes import bars, run, strategy

POSITIVE = st.decimals("0.000000000000000001", "99999999999999999999", places=18)
ANY = st.decimals("-99999999999999999999", "99999999999999999999", places=18)


@given(numerator=ANY, denominator=POSITIVE)
def test_a_quotient_is_rounded_half_even_once(numerator: Decimal, denominator: Decimal) -> None:
    with exact():
        found = quantised_quotient(numerator, denominator)
    assert Fraction(found) == Fraction(round(Fraction(numerator) / Fraction(denominator) * 10**8), 10**8)


@given(price=POSITIVE, tick=POSITIVE)
def test_a_price_is_rounded_half_up_to_the_tick(price: Decimal, tick: Decimal) -> None:
    with exact():
        found = round_to_tick(price, tick)
    ticks = Fraction(price) / Fraction(tick)
    assert Fraction(found) == (ticks + Fraction(1, 2)) // 1 * Fraction(tick)


@given(numerator=POSITIVE, denominator=POSITIVE, step=POSITIVE)
def test_a_quantity_is_floored_to_the_step(numerator: Decimal, denominator: Decimal, step: Decimal) -> None:
    with exact():
        found = floor_quotient(numerator, denominator, step)
    wanted = Fraction(numerator) / Fraction(denominator) // Fraction(step) * Fraction(step)
    assert Fraction(found) == wanted


def test_half_even_ties_go_to_the_even_place() -> None:
    with exact():
        assert quantised_quotient(Decimal("0.000000025"), Decimal(1)) == Decimal("0.00000002")
        assert quantised_quotient(Decimal("-0.000000015"), Decimal(1)) == Decimal("-0.00000002")


def test_an_inexact_result_raises() -> None:
    with exact(), pytest.raises(Inexact):
        Decimal(1) / Decimal(3)


def test_fees_and_pnl_are_exact_with_the_longest_numbers() -> None:
    fee = Decimal("0.123456789012345678")
    rows = bars("1.000000000000000001", "12345678901234567890.123456789012345678", "99999999999999999999")
    on = Terms(fee=fee, initial_balance=Decimal("99999999999999999999.999999999999999999"))
    report = run(strategy(risk={"position_size": {"type": "fixed_base", "value": "7.123"}}), rows, on)
    trade, fills = report.trades[0], report.fills
    assert fills[0].price == Decimal("12345678901234567890.12")
    fees = sum(Fraction(fill.price) * Fraction(fill.qty) * Fraction(fee) for fill in fills)
    assert Fraction(trade.fees) == fees
    gross = (Fraction(fills[1].price) - Fraction(fills[0].price)) * Fraction(trade.qty)
    assert Fraction(trade.gross) == gross
    assert Fraction(trade.pnl) == Fraction(round((gross - fees) * 10**8), 10**8)
