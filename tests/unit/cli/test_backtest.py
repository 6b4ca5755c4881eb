import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.backtest import backtest
from tests.unit.strategy.scenes import at_close, document

ROWS = ["1,1,1,1", "2,2,2,2", "3,3,3,3", "4,4,4,4"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [f"{index * 3_600_000},{prices},1" for index, prices in enumerate(ROWS)]
    (tmp_path / "c.csv").write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    plan = document(at_close("1"), at_close("2"), risk={"position_size": {"type": "fixed_base", "value": 10}})
    (tmp_path / "s.json").write_text(json.dumps(plan))
    return tmp_path


def run_backtest_command(folder: Path, *options: str, strategy: str = "s.json") -> Result:
    return CliRunner().invoke(
        backtest, ["--candles", str(folder / "c.csv"), "--strategy", str(folder / strategy), *options]
    )


def test_json_is_one_object_with_amounts_as_plain_strings(folder: Path) -> None:
    result = run_backtest_command(folder, "--json", "--fee", "0.001", "--balance", "1000.50")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert (report["fills"], report["trades"], report["final_equity"]) == (2, 1, "1010.45")
    assert report["fill_list"][0] == {
        "time_ms": 3_600_000,
        "action": "open",
        "side": "LONG",
        "qty": "10",
        "price": "2",
        "fee": "0.02",
        "reason": "entry",
    }
    assert report["trade_list"] == [
        {
            "side": "LONG",
            "entry_time": 3_600_000,
            "exit_time": 7_200_000,
            "entry_price": "2",
            "exit_price": "3",
            "qty": "10",
            "gross": "10",
            "fees": "0.05",
            "pnl": "9.95",
            "pnl_percentage": "49.75",
            "reason": "signal",
            "strategy_hash": report["strategy_hash"],
        }
    ]
    assert report["metrics"]["buy_and_hold_pct"] == 100
    assert report["arithmetic"] == "integer"
    assert report["arithmetic"] == "integer"


def test_prices_that_are_no_multiples_of_the_tick_are_booked_in_decimals(folder: Path) -> None:
    result = run_backtest_command(folder, "--json", "--instrument", "tick_size=0.7")
    assert json.loads(result.stdout)["arithmetic"] == "decimal"


def test_the_summary_lists_terms_and_gaps(folder: Path) -> None:
    text = run_backtest_command(folder, "--slippage", "0.001").stdout
    assert "fee 0.055 % per fill, slippage 0.1 %, no funding" in text
    assert "buy and hold   100.00 %" in text
    assert "gaps           none" in text
    assert "instrument     tick 1, quantity step 0.001, minimum 0.001, minimum notional 5" in text
    assert "minimum notional 5; derived from the candles" in text


def test_the_summary_says_what_drawdown_and_win_rate_leave_out(folder: Path) -> None:
    lines = run_backtest_command(folder).stdout.splitlines()
    figures = [line.split("  ")[0] for line in lines]
    below = lines[figures.index("win rate") + 1]
    assert figures.index("win rate") == figures.index("max drawdown") + 1
    assert "drawdown: of closed trades only" in below
    assert "a trade that breaks even counts, but not as won" in below


@pytest.mark.parametrize("when", ["3600000", "1970-01-01T01:00:00Z", "1970-01-01T00:30", "1970-01-01T02:00+01:00"])
def test_trade_from_starts_with_the_first_bar_that_opens_at_that_time_or_later(folder: Path, when: str) -> None:
    (folder / "s.json").write_text(json.dumps(document(at_close("1", "2"))))
    report = json.loads(
        run_backtest_command(folder, "--json", "--instrument", "min_notional=0", "--trade-from", when).stdout
    )
    assert report["fill_list"][0]["time_ms"] == 2 * 3_600_000


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--fee", "1"], "--fee: must be below 1"),
        (["--fee", "-0.1"], "--fee: must be at least 0"),
        (["--fee", "1e-3"], '--fee: "1e-3" is not a decimal'),
        (["--slippage", "NaN"], '--slippage: "NaN" is not a decimal'),
        (["--balance", "0"], "--balance: must be above 0"),
        (["--balance", "1\n2"], '--balance: "1\\n2" is not a decimal'),
        (["--instrument", "tick_size"], '--instrument: "tick_size" is not one of'),
        (["--instrument", "tick=1"], '--instrument: "tick=1" is not one of'),
        (["--instrument", "tick_size=0"], "--instrument tick_size: must be above 0"),
        (["--instrument", "tick_size=1,tick_size=1"], "--instrument: tick_size is given twice"),
        (["--trade-from", "yesterday"], '--trade-from: "yesterday" is neither ISO 8601 nor'),
        (["--trade-from", "0001-01-01"], '--trade-from: "0001-01-01" is out of range'),
        (["--bogus"], "No such option"),
        (["extra"], "Got unexpected extra argument"),
        (["--fee"], "Option '--fee' requires an argument"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(folder: Path, options: list[str], line: str) -> None:
    result = run_backtest_command(folder, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert line in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_option_is_one_line() -> None:
    result = CliRunner().invoke(backtest, [])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_each_fault_of_the_strategy_is_one_line(folder: Path) -> None:
    (folder / "bad.json").write_text(json.dumps({**document("no"), "b\nc": 1}))
    result = run_backtest_command(folder, strategy="bad.json")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith('bad.json: $["b\\nc"]: is not a known key')
    assert lines[1].endswith("bad.json: $.entry_conditions: must be a condition object")


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b""])
def test_a_strategy_that_is_not_json_is_one_line(folder: Path, content: bytes) -> None:
    (folder / "bad.json").write_bytes(content)
    result = run_backtest_command(folder, strategy="bad.json")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_missing_files_are_one_line(folder: Path) -> None:
    assert "cannot be read" in run_backtest_command(folder, strategy="none.json").stderr
    (folder / "c.csv").unlink()
    result = run_backtest_command(folder)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)


def test_ctrl_c_ends_with_exit_code_130(folder: Path) -> None:
    """The command is interrupted while it waits for candles that never arrive."""
    pipe = folder / "pipe.csv"
    os.mkfifo(pipe)
    command = [sys.executable, "-m", "cli.backtest", "--candles", str(pipe), "--strategy", str(folder / "s.json")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            writer = open_writing_end(pipe, deadline_s=30)
            process.send_signal(signal.SIGINT)
            os.close(writer)  # a read that began just after the signal would wait for ever
            assert process.wait(timeout=30) == 130
        finally:
            process.kill()
        assert process.stderr is not None
        assert process.stderr.read() == "interrupted\n"


def open_writing_end(pipe: Path, deadline_s: float) -> int:
    """Open the writing end; succeeds once the other side is reading."""
    end = time.monotonic() + deadline_s
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.02)
