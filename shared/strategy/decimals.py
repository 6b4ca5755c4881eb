"""Exact decimal arithmetic: values are rounded only where the rules require it, and only once.

Inside `exact()` an operation whose result would have to be rounded raises `decimal.Inexact`. So code inside it
never divides with `/`: flooring and rounding use integer division (`//`), which is exact. Values with 8 places are
divided and rounded in separate contexts, so that they are rounded once.

Call the arithmetic functions inside `exact()`; they do not enter it themselves, because that costs as much as ten
operations.
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

# Enough for 20 digits before the point and 18 after it, products of a few of those, and float64 down to 5E-324.
_DIGITS = 1500
_FAULTS = [InvalidOperation, DivisionByZero, Overflow]
_EXACT = Context(prec=_DIGITS, rounding=ROUND_DOWN, traps=[Inexact, *_FAULTS])
# ROUND_05UP keeps a last digit that makes the second rounding give what the exact quotient would.
_QUOTIENTS = Context(prec=160, rounding=ROUND_05UP, traps=_FAULTS)
_PLACES = Context(prec=_DIGITS, rounding=ROUND_HALF_EVEN, traps=_FAULTS)
# For values that are compared or displayed, never booked.
INEXACT = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=_FAULTS)
_EIGHT_PLACES = Decimal(1).scaleb(-8)
_HALF = Decimal("0.5")
HUNDRED = Decimal(100)
ONE = Decimal(1)
ZERO = Decimal(0)


def exact() -> AbstractContextManager[Context]:
    """Return the context for money arithmetic, in which an inexact result raises `decimal.Inexact`."""
    return localcontext(_EXACT)


def inexact() -> AbstractContextManager[Context]:
    """Return a rounding context, for foreign code that is called from inside `exact()`."""
    return localcontext(INEXACT)


def round_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """Round to the nearest multiple of the tick, half-up; a price at or below 0 gives 0."""
    if price <= ZERO:  # ZERO and not 0: comparing with an int converts it to a decimal first
        return ZERO
    return (price + tick * _HALF) // tick * tick


def fill_price(price: Decimal, tick: Decimal) -> Decimal:
    """Round a fill's price to the tick; at least one tick."""
    return round_to_tick(price, tick) or tick


def percent_of(percent: Decimal) -> Decimal:
    """Return a percentage as a fraction. May be called outside `exact()`."""
    return percent.scaleb(-2, _EXACT)


def floor_quotient(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is at most numerator ÷ denominator (all above 0)."""
    return numerator // (denominator * step) * step or ZERO


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    return quantity // step * step


def quantised_quotient(numerator: Decimal, denominator: Decimal) -> Decimal:
    """Return numerator ÷ denominator to 8 places, half-even, rounded once from the exact quotient."""
    return quantise(_QUOTIENTS.divide(numerator, denominator))


def quantise(value: Decimal) -> Decimal:
    """Round to 8 places, half-even."""
    return _PLACES.quantize(value, _EIGHT_PLACES) or ZERO
