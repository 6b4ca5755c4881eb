"""Balances, sizes and prices from clients: one bound for all of them, in every input.

Within it, sums of many amounts stay exact and fit the wire format (20 digits before the point, 18 after it).
"""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from shared.contracts.types import AMOUNT_PATTERN, Amount, decimal_text

HIGHEST_AMOUNT = Decimal(10) ** 12
MAX_PLACES = 8


def places_of(amount: Decimal) -> int:
    """Return the number of decimals, without trailing zeros."""
    return len(decimal_text(amount).partition(".")[2])


def check_bounded(amount: Decimal) -> Decimal:
    """Raises ValueError."""
    if amount < 0:
        raise ValueError("must be at least 0")
    if amount > HIGHEST_AMOUNT or places_of(amount) > MAX_PLACES:
        raise ValueError(f"must be at most {HIGHEST_AMOUNT:f}, with at most {MAX_PLACES} decimals")
    return amount


def check_market(amount: Decimal) -> Decimal:
    """Raises ValueError."""
    if not 0 < amount <= HIGHEST_AMOUNT:
        raise ValueError(f"must be above 0 and at most {HIGHEST_AMOUNT:f}")
    return amount


def check_positive(amount: Decimal) -> Decimal:
    """Raises ValueError."""
    if amount <= 0:
        raise ValueError("must be above 0")
    return check_bounded(amount)


def check_fraction(amount: Decimal) -> Decimal:
    """Raises ValueError."""
    if not 0 <= amount < 1:
        raise ValueError("must be at least 0 and below 1")
    if places_of(amount) > MAX_PLACES:
        raise ValueError(f"must have at most {MAX_PLACES} decimals")
    return amount


def _amount_like(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN, "examples": [example]})


Positive = Annotated[Amount, AfterValidator(check_positive), _amount_like("10000")]
"""A balance, a size or a percentage: above 0."""

OfMarket = Annotated[Amount, AfterValidator(check_market), _amount_like("90000")]
"""A price or volume to compare with the market's: above 0, with as many decimals as an exchange may use."""

Price = Annotated[Amount, AfterValidator(check_bounded), _amount_like("29.99")]
"""The cost of something: at least 0."""

Fraction = Annotated[Amount, AfterValidator(check_fraction), _amount_like("0.00055")]
"""A fee or a slippage."""
