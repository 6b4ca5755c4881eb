"""The ratio over a deviation of nothing is undefined, however float64 rounds the returns."""

from pathlib import Path

import pytest

from tests.cases.backtesting import ran


@pytest.mark.beside_checkout
def test_days_that_earn_the_same_have_no_sharpe(shared_folder: Path) -> None:
    report = ran(shared_folder / "cases" / "sharpe-of-equal-days", "--fee", "0")
    assert report["final_equity"] == "10020.01"
    assert report["metrics"]["sharpe"] is None
