"""Exact decimal arithmetic: nothing is rounded but where the rules say so, and then once.

Inside `exact()` an operation whose result would have to be rounded raises `decimal.Inexact`. Quotients are
therefore never formed: flooring and rounding divide whole numbers of units (`//`), which is exact. What is written
down to 8 places is divided and rounded in contexts of its own, so that it is rounded once.

Functions that reckon expect to be called inside `exact()`; entering it costs as much as ten operations.
"""

from contextlib import AbstractContextManager
from decimal import (
    ROUND_05UP,
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    localcontext,
)

# 20 digits before a point and 18 after it, products of a few of those, and float64 values down to 5E-324.
_DIGITS = 1500
_FAULTS = [InvalidOperation, DivisionByZero, Overflow]
_EXACT = Context(prec=_DIGITS, rounding=ROUND_DOWN, traps=[Inexact, *_FAULTS])
# ROUND_05UP leaves a last digit from which the second rounding is what it would be from the exact quotient.
_QUOTIENTS = Context(prec=160, rounding=ROUND_05UP, traps=_FAULTS)
_PLACES = Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, traps=_FAULTS)
SHARES = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=_FAULTS)  # for what is compared and shown, never booked
_EIGHT_PLACES = Decimal(1).scaleb(-8)
_HALF = Decimal("0.5")
HUNDRED = Decimal(100)
ONE = Decimal(1)
ZERO = Decimal(0)


def exact() -> AbstractContextManager[Context]:
    """The context in which money is reckoned."""
    return localcontext(_EXACT)


def not_exact() -> AbstractContextManager[Context]:
    """For code of others that is called from inside `exact()`."""
    return localcontext(SHARES)


def round_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """To the nearest multiple of the tick, half-up; a price that is not above 0 gives 0."""
    if price <= ZERO:  # an int would be made a decimal first, here and wherever amounts are compared
        return ZERO
    return (price + tick * _HALF) // tick * tick


def fill_price(price: Decimal, tick: Decimal) -> Decimal:
    """A fill's: to the tick, and never below one."""
    return round_to_tick(price, tick) or tick


def percent_of(percent: Decimal) -> Decimal:
    """A percentage as the fraction that amounts are multiplied by; may be asked for outside of `exact()`."""
    return percent.scaleb(-2, _EXACT)


def floor_quotient(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is at most numerator ÷ denominator (all above 0)."""
    return numerator // (denominator * step) * step or ZERO


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    return quantity // step * step


def quantised_quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """numerator ÷ denominator to 8 places, half-even, rounded once from the exact quotient."""
    return quantised(_QUOTIENTS.divide(numerator, denominator))


def quantised(value: Decimal) -> Decimal:
    """The value to 8 places, half-even."""
    return _PLACES.quantize(value, _EIGHT_PLACES) or ZERO
