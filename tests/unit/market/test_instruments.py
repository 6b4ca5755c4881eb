"""Without a given instrument, the tick size is derived from the candles."""

from decimal import Decimal

import pytest

from shared.market.instruments import has_finer_prices, instrument_of
from shared.strategy.bars import Bar


def candle(price: str) -> Bar:
    amount = Decimal(price)
    return Bar(0, amount, amount, amount, amount, Decimal("0.123456"))


@pytest.mark.parametrize(
    ("prices", "tick"),
    [
        (["0.0041", "0.0038"], "0.0001"),
        (["0.5141", "0.51"], "0.0001"),
        (["0.0051"], "0.0001"),
        (["0.0000001"], "0.0000001"),
        (["1e-7"], "0.0000001"),
        (["64000.10", "64000.00"], "0.1"),
        (["64000.00", "3.000"], "1"),
        (["64000", "1.5E+4"], "1"),
        (["100000.123456789012345678"], "0.000000000000000001"),
    ],
)
def test_the_tick_has_the_most_decimal_places_of_any_price(prices: list[str], tick: str) -> None:
    found = instrument_of(map(candle, prices))
    assert found.tick_size == Decimal(tick)
    assert (found.qty_step, found.min_order_qty, found.min_notional) == (
        Decimal("0.001"),
        Decimal("0.001"),
        Decimal(5),
    )


def test_prices_finer_than_the_tick_are_found() -> None:
    assert has_finer_prices([candle("0.51"), candle("0.5141")], Decimal("0.01"))
    assert not has_finer_prices([candle("0.51"), candle("64000.10")], Decimal("0.01"))
