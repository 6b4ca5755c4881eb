"""The ratio over a deviation of zero is undefined, however float64 rounds the returns."""

from pathlib import Path

import pytest

from tests.cases.backtesting import run_case


@pytest.mark.beside_checkout
def test_equal_daily_returns_have_no_sharpe(shared_folder: Path) -> None:
    report = run_case(shared_folder / "cases" / "sharpe-of-equal-days", "--fee", "0")
    assert report["final_equity"] == "10020.01"
    assert report["metrics"]["sharpe"] is None
