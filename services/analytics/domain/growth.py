"""Exact compounding of daily returns."""

from collections.abc import Iterable
from decimal import Decimal, localcontext
from fractions import Fraction
from math import prod

from services.analytics.domain.quotients import PRECISION


def growth_of(days: Iterable[tuple[Decimal, Decimal]]) -> Fraction | None:
    """Return the product of 1 + pnl ÷ capital over days given as (capital at work, pnl); 1 without days.

    None if a day has no capital, or if more than everything was lost before the last day. Without flows the capital
    of one day is the result of the day before and the factors cancel out, so only one factor per stretch between
    flows is multiplied.
    """
    upper, lower = list[Decimal](), list[Decimal]()
    held: Decimal | None = None
    with localcontext() as context:
        context.prec = PRECISION
        for capital, pnl in days:
            if capital <= 0 or (held is not None and held < 0):
                return None
            if capital != held:
                upper += [] if held is None else [held]
                lower.append(capital)
            held = capital + pnl
    if held is None:
        return Fraction(1)
    return _product([*upper, held]) / _product(lower)


def _product(amounts: Iterable[Decimal]) -> Fraction:
    pairs = [amount.as_integer_ratio() for amount in amounts]
    return Fraction(prod(upper for upper, _ in pairs), prod(lower for _, lower in pairs))
