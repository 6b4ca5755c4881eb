"""Quotients of exact amounts, rounded once: half-even, never through a float."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

ZERO = Decimal(0)
PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
PERCENT_PLACES = 8
RATIO_PLACES = 6
TOO_MUCH = 10**20  # what an amount cannot show


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """8 places; None where there is no whole, or so little of it that the percentage has more than 20 digits."""
    return _quotient(part, whole, PERCENT_PLACES, times=100)


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """6 places, such as the profit factor; None as for a percentage."""
    return _quotient(part, whole, RATIO_PLACES)


def rounded_percent(value: Fraction, places: int = PERCENT_PLACES) -> Decimal | None:
    """Of a fraction: 1/8 is 12.5. None where it has more than 20 digits."""
    if abs(value) * 100 >= TOO_MUCH - 1:
        return None
    with localcontext() as context:
        context.prec = PRECISION
        return Decimal(round(value * 100 * 10**places)).scaleb(-places)


def _quotient(part: Decimal, whole: Decimal, places: int, times: int = 1) -> Decimal | None:
    if whole <= 0:
        return None
    with localcontext() as context:
        context.prec = PRECISION
        value = part * times / whole
        if abs(value) >= TOO_MUCH - 1:
            return None
        return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN) + 0  # no negative zero
