"""Nothing is not above three times a mean of nothing."""

from pathlib import Path

import pytest

from tests.cases.backtesting import entered_at, ran


@pytest.mark.beside_checkout
def test_volume_nought_is_not_above_a_mean_of_nought(shared_folder: Path) -> None:
    report = ran(shared_folder / "cases" / "volume-spike-without-volume")
    assert entered_at(report, 1_704_067_200_000) == [36]
