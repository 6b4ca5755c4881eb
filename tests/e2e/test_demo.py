"""The main job, small: everything the demo checks holds, and bad input is one line."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cli.demo.synthetic import write_candles

pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.timeout(400)]


def demo(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli", "demo", *arguments], capture_output=True, text=True, check=False, timeout=350
    )


OF_TROUBLE = {"session.alarmed", "usage.threshold"}  # said where something is wrong, or nearly used up


def told(done: "subprocess.CompletedProcess[str]") -> Any:
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_default_demo_holds_what_it_checks() -> None:
    done = demo("--bars", "160", "--tenants", "2", "--json")
    result = told(done)
    assert "synthetic" in done.stdout.splitlines()[0]
    assert result["ok"] is True
    assert all(result["checks"].values()), result["checks"]
    unheard = {topic for topic, count in result["events"].items() if not count}
    assert unheard <= OF_TROUBLE, result["events"]
    plans = [tenant["plan"] for tenant in result["tenants"]]
    assert plans == ["PREMIUM", "PREMIUM", "FREE"]
    first = result["tenants"][0]
    assert first["analytics"]["trades"] == first["usage"]["current_period_trades"] > 0
    assert first["alerts"] > 0


def test_given_strategies_and_candles_are_run_by_each_tenant_and_nothing_else(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    files = write_candles(tmp_path, seed=5, bars=90)
    strategy = Path(__file__).parents[2] / "cli/demo/strategies/bands-both.json"
    result = told(
        demo(
            *(f"--candles={symbol}={file}" for symbol, file in files.items()),
            f"--strategy={strategy}",
            "--tenants=2",
            "--fee=0.001",
            "--balance=5000",
            "--instrument=tick_size=0.5",
            "--instrument=ETHUSDT:qty_step=0.01,min_order_qty=0.01",
            "--json",
        )
    )
    assert result["ok"] is True
    assert [len(tenant["sessions"]) for tenant in result["tenants"]] == [2, 2, 0]
    assert [tenant["alerts"] for tenant in result["tenants"]] == [0, 0, 0]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--candles", "nonsense"], "--candles"),
        (["--candles", "BTCUSDT=/does/not/exist.csv"], "--candles"),
        (["--strategy", "/does/not/exist.json"], "--strategy"),
        (["--fee", "2"], "--fee"),
        (["--balance", "0"], "--balance"),
        (["--instrument", "DOGEUSDT:tick_size=1"], "--instrument"),
        (["--instrument", "tick_size=x"], "--instrument"),
        (["--tenants", "0"], "--tenants"),
        (["--bars", "0"], "--bars"),
        (["--nope"], "--nope"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], named: str) -> None:
    done = demo(*arguments)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr
