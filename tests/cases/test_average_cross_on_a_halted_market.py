"""Equal averages do not cross: 30 falling bars, then 40 bars at one price."""

from pathlib import Path

import pytest

from tests.cases.backtesting import run_case


@pytest.mark.beside_checkout
def test_equal_averages_do_not_cross(shared_folder: Path) -> None:
    report = run_case(shared_folder / "cases" / "average-cross-on-a-halted-market")
    assert report["fill_list"] == []
    assert report["final_equity"] == "10000"
