"""Quotients of exact amounts, rounded once: half-even, never through a float."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

ZERO = Decimal(0)
PRECISION = 60  # digits; sums of amounts stay exact far beyond any balance
PERCENT_PLACES = 8
RATIO_PLACES = 6
AMOUNT_LIMIT = 10**20  # amounts in responses have at most 20 digits before the point
EXACT = Context(prec=PRECISION, rounding=ROUND_HALF_EVEN)  # its methods need no local context, which is slow
_UNITS = {places: Decimal(1).scaleb(-places) for places in (PERCENT_PLACES, RATIO_PLACES)}


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
    return EXACT.scaleb(Decimal(round(value * 100 * 10**places)), -places)


def _quotient(part: Decimal, whole: Decimal, places: int, times: int = 1) -> Decimal | None:
    if whole <= 0:
        return None
    value = EXACT.divide(EXACT.multiply(part, times), whole)
    if EXACT.abs(value) >= AMOUNT_LIMIT - 1:
        return None
    return EXACT.add(EXACT.quantize(value, _UNITS[places]), 0)  # no negative zero
