"""A volume of zero is not above three times a mean of zero."""

from pathlib import Path

import pytest

from tests.cases.backtesting import entry_bars, run_case


@pytest.mark.beside_checkout
def test_zero_volume_is_not_above_a_mean_of_zero(shared_folder: Path) -> None:
    report = run_case(shared_folder / "cases" / "volume-spike-without-volume")
    assert entry_bars(report, 1_704_067_200_000) == [36]
