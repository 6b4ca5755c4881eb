"""Equal averages do not cross: 30 bars that fall, then 40 bars of one price."""

from pathlib import Path

import pytest

from tests.cases.backtesting import ran


@pytest.mark.beside_checkout
def test_equal_averages_do_not_cross(shared_folder: Path) -> None:
    report = ran(shared_folder / "cases" / "average-cross-on-a-halted-market")
    assert report["fill_list"] == []
    assert report["final_equity"] == "10000"
