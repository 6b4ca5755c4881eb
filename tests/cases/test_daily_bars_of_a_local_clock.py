"""A day of 25 hours opens off the grid: its line is refused, and no bar counts as missing."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.backtest import backtest


@pytest.mark.beside_checkout
def test_the_line_off_the_grid_is_refused(shared_folder: Path) -> None:
    folder = shared_folder / "cases" / "daily-bars-of-a-local-clock"
    files = ["--candles", str(folder / "candles.csv"), "--strategy", str(folder / "strategy.json")]
    result = CliRunner().invoke(backtest, files)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "line 4: open_time_ms 1704243600000 is 1 h past the grid of 24 h (UTC)" in result.stderr
