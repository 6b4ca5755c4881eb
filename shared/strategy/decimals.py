"""Exact decimal arithmetic: nothing is rounded but where the rules say so, and then once.

Inside `exact()` an operation whose result would have to be rounded raises `decimal.Inexact`. Quotients are
therefore never formed: flooring and rounding divide whole numbers of units (`//`), which is exact.
"""

from contextlib import AbstractContextManager
from decimal import (
    ROUND_DOWN,
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
_EXACT = Context(prec=_DIGITS, rounding=ROUND_DOWN, traps=[Inexact, InvalidOperation, DivisionByZero, Overflow])
HUNDRED = Decimal(100)
ONE = Decimal(1)
ZERO = Decimal(0)


def exact() -> AbstractContextManager[Context]:
    """The context in which money is reckoned."""
    return localcontext(_EXACT)


def round_to_tick(price: Decimal, tick: Decimal) -> Decimal:
    """To the nearest multiple of the tick, half-up; a price that is not above 0 gives 0."""
    if price <= 0:
        return ZERO
    return (2 * price + tick) // (2 * tick) * tick


def floor_quotient(numerator: Decimal, denominator: Decimal, step: Decimal) -> Decimal:
    """The largest multiple of `step` that is at most numerator ÷ denominator (all above 0)."""
    return numerator // (denominator * step) * step


def floor_to_step(quantity: Decimal, step: Decimal) -> Decimal:
    return quantity // step * step


def quantised_quotient(numerator: Decimal, denominator: Decimal, places: int = 8) -> Decimal:
    """numerator ÷ denominator to `places`, half-even, rounded once from the exact quotient."""
    whole, rest = divmod(abs(numerator).scaleb(places), abs(denominator))
    twice = 2 * rest
    if twice > abs(denominator) or (twice == abs(denominator) and whole % 2 == 1):
        whole += 1
    negative = (numerator < 0) != (denominator < 0)
    return (-whole if negative and whole else whole).scaleb(-places)


def quantised(value: Decimal, places: int = 8) -> Decimal:
    """The value to `places`, half-even."""
    return quantised_quotient(value, ONE, places)
