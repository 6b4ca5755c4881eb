"""Without an instrument the tick is derived from the candles, and the result says so; no fill has a price of 0."""

from pathlib import Path

import pytest

from tests.cases.backtesting import run_case


@pytest.mark.beside_checkout
def test_a_coin_below_half_a_cent_fills_at_its_price(shared_folder: Path) -> None:
    report = run_case(shared_folder / "cases" / "price-below-the-tick")
    assert [fill["price"] for fill in report["fill_list"]] == ["0.0041", "0.0049"]
    assert report["instrument"]["tick_size"] == "0.0001"
    assert report["instrument"]["source"] == "derived from the candles"
