"""Without an instrument the tick follows the candles, and the result says so; nothing fills at nothing."""

from pathlib import Path

import pytest

from tests.cases.backtesting import ran


@pytest.mark.beside_checkout
def test_a_coin_below_half_a_cent_fills_at_its_price(shared_folder: Path) -> None:
    report = ran(shared_folder / "cases" / "price-below-the-tick")
    assert [fill["price"] for fill in report["fill_list"]] == ["0.0041", "0.0049"]
    assert report["instrument"]["tick_size"] == "0.0001"
    assert report["instrument"]["source"] == "derived from the candles"
