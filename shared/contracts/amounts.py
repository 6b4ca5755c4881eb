"""Balances, sizes and prices that a client sends: one bound for all of them, whichever way they come in.

Within it sums of many stay exact and have room on the wire (20 digits before the point, 18 after it).
"""

from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from shared.contracts.types import AMOUNT_PATTERN, Amount, decimal_text

HIGHEST_AMOUNT = Decimal(10) ** 12
MOST_PLACES = 8


def places_of(amount: Decimal) -> int:
    """How many decimals it has, zeros at the end left out."""
    return len(decimal_text(amount).partition(".")[2])


def check_bounded(amount: Decimal) -> Decimal:
    """Raises ValueError."""
    if amount < 0:
        raise ValueError("must be at least 0")
    if amount > HIGHEST_AMOUNT or places_of(amount) > MOST_PLACES:
        raise ValueError(f"must be at most {HIGHEST_AMOUNT:f}, with at most {MOST_PLACES} decimals")
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
    if places_of(amount) > MOST_PLACES:
        raise ValueError(f"must have at most {MOST_PLACES} decimals")
    return amount


def _amount_like(example: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": AMOUNT_PATTERN, "examples": [example]})


Positive = Annotated[Amount, AfterValidator(check_positive), _amount_like("10000")]
"""A balance, a size or a percentage: above 0."""

OfMarket = Annotated[Amount, AfterValidator(check_market), _amount_like("90000")]
"""A price or volume to compare the market's with: above 0, with as many decimals as a market may have."""

Price = Annotated[Amount, AfterValidator(check_bounded), _amount_like("29.99")]
"""What something costs: at least 0."""

Fraction = Annotated[Amount, AfterValidator(check_fraction), _amount_like("0.00055")]
"""A fee or a slippage."""
