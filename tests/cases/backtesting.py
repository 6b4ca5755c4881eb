"""Run the strategy of a case on its candles through the command line."""

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from cli.backtest import backtest

HOUR_MS = 3_600_000


def run_case(folder: Path, *options: str) -> dict[str, Any]:  # Any: the report's JSON
    files = ["--candles", str(folder / "candles.csv"), "--strategy", str(folder / "strategy.json")]
    result = CliRunner().invoke(backtest, [*files, "--json", *options])
    assert result.exit_code == 0, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def entry_bars(report: dict[str, Any], first_ms: int, interval_ms: int = HOUR_MS) -> list[int]:
    """Return the bars at whose close the entries were decided, counted from 0."""
    opened = [fill["time_ms"] for fill in report["fill_list"] if fill["action"] == "open"]
    return [(time_ms - first_ms) // interval_ms - 1 for time_ms in opened]
