"""Derives the instrument of candles that have none, and checks whether an instrument fits its candles."""

from collections.abc import Iterable
from decimal import Decimal

from shared.strategy.bars import Bar, Instrument
from shared.strategy.decimals import exact


def instrument_of(bars: Iterable[Bar]) -> Instrument:
    """Derive an instrument. Its tick is 10⁻ᵏ, with k the most decimal places of any price, without trailing zeros;
    the steps are the defaults."""
    places = max((_places(price) for bar in bars for price in bar[1:5]), default=0)
    return Instrument(tick_size=Decimal(1).scaleb(-places))


def has_finer_prices(bars: Iterable[Bar], tick: Decimal) -> bool:
    """Return whether a price is not a multiple of the tick, so that fills at it are rounded."""
    with exact():
        return any(price % tick for bar in bars for price in bar[1:5])


def _places(price: Decimal) -> int:
    digits = price.as_tuple()
    assert isinstance(digits.exponent, int), "a bar's prices are finite"
    places = -digits.exponent
    for digit in reversed(digits.digits):
        if places <= 0 or digit:
            break
        places -= 1
    return max(0, places)
