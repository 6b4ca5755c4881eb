"""Quotients of exact amounts, rounded once: half-even, never through a float."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction

ZERO = Decimal(0)
PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
PERCENT_PLACES = 8
RATIO_PLACES = 6
AMOUNT_LIMIT = 10**20  # amounts in responses have at most 20 digits before the point


def percent(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return a percentage with 8 places; None if `whole` is not above 0 or the result exceeds 20 digits."""
    return _quotient(part, whole, PERCENT_PLACES, times=100)


def ratio(part: Decimal, whole: Decimal) -> Decimal | None:
    """Return a ratio with 6 places, e.g. the profit factor; None under the same conditions as `percent`."""
    return _quotient(part, whole, RATIO_PLACES)


def rounded_percent(value: Fraction, places: int = PERCENT_PLACES) -> Decimal | None:
    """Return a fraction as a percentage: 1/8 is 12.5. None if the result exceeds 20 digits."""
    if abs(value) * 100 >= AMOUNT_LIMIT - 1:
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
        if abs(value) >= AMOUNT_LIMIT - 1:
            return None
        return value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN) + 0  # no negative zero
