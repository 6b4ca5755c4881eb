"""The demo on a small scale: all its checks hold, and bad input is one line."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner

from cli.__main__ import tradefleet
from sandbox.synthetic_candles import write_candles
from stack.home import read_state
from tests.architecture.old_design import OLD
from tests.integration.stack.commands import open_to_servers

pytestmark = pytest.mark.timeout(400)


def test_the_given_strategies_have_the_same_fills_on_paper_and_on_the_exchange(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command runs in this process, the platform in its own."""
    open_to_servers(tmp_path)
    monkeypatch.chdir(tmp_path)
    files = write_candles(tmp_path, seed=5, bars=90)
    strategy = Path(__file__).parents[2] / "cli/demo/strategies/bands-both.json"
    arguments = [
        *(f"--candles={symbol}={file}" for symbol, file in files.items()),
        f"--strategy={strategy}",
        "--tenants=1",
        "--mode=both",
        "--fee=0.001",
        "--balance=5000",
        "--instrument=tick_size=0.5",
        "--instrument=ETHUSDT:qty_step=0.01,min_order_qty=0.01",
        "--json",
    ]
    done = CliRunner().invoke(tradefleet, ["demo", *arguments])
    assert done.exit_code == 0, done.output[-4000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["ok"] is True
    modes = [[session["mode"] for session in tenant["sessions"]] for tenant in result["tenants"]]
    assert modes == [["PAPER"] * 2, ["LIVE"] * 2, []]
    assert [tenant["alerts"] for tenant in result["tenants"]] == [0, 0, 0]
    paper, live = [[session["fingerprint"] for session in each["sessions"]] for each in result["tenants"][:2]]
    assert paper == live
    assert all(session["trades"] for session in result["tenants"][1]["sessions"])


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
        (["--mode", "real"], "--mode"),
        (["--mode", "exchange", "--bar-ms", "5"], "--mode"),
        (["--nope"], "--nope"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(tradefleet, ["demo", *arguments])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert named in done.stderr


def test_a_demo_that_cannot_start_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    without_kafka = {"KAFKA_HOME": str(tmp_path), "KAFKA_BOOTSTRAP": None}
    done = CliRunner().invoke(tradefleet, ["demo"], env=without_kafka)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "KAFKA_HOME" in done.stderr
    assert list(tmp_path.glob(".tradefleet/*")) == []


# Events published only when something is wrong or nearly used up, or when a login ends early: not in this demo.
OF_TROUBLE = {"exchange_account.alarmed", "session.alarmed", "usage.threshold", "quota.changed", "login.ended"}


@dataclass(frozen=True)
class FinishedDemo:
    """A finished demo that stays up: its output, its last line, and its database."""

    output: str
    result: Any  # JSON
    owner_dsn: str


@pytest.fixture(scope="module")
def default_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FinishedDemo]:
    """Run the default demo, the only one of this length in the suite: from ten days on, days have a Sharpe ratio.

    Its tests are the last of the file, so that it does not run beside the other demos.
    """
    folder = open_to_servers(tmp_path_factory.mktemp("demo"))
    arguments = ["--tenants", "2", "--mode", "paper", "--json", "--keep"]
    with subprocess.Popen(
        [sys.executable, "-m", "cli", "demo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=folder,
    ) as running:
        try:
            yield _wait_for_result(running, folder)
        finally:
            running.terminate()


def _wait_for_result(running: "subprocess.Popen[str]", folder: Path) -> FinishedDemo:
    assert running.stdout is not None
    output = ""
    for line in running.stdout:
        output += line
        if line.startswith("{"):
            (home,) = (folder / ".tradefleet").glob("demo-*")
            state = read_state(home)
            assert state is not None
            return FinishedDemo(output, json.loads(line), state.postgres)
    raise AssertionError(output[-6000:])


def test_all_checks_of_the_default_demo_hold(default_demo: FinishedDemo) -> None:
    result = default_demo.result
    assert "synthetic" in default_demo.output.splitlines()[0]
    assert result["ok"] is True
    assert all(result["checks"].values()), result["checks"]
    unpublished = {topic for topic, count in result["events"].items() if not count}
    assert unpublished <= OF_TROUBLE, result["events"]
    plans = [tenant["plan"] for tenant in result["tenants"]]
    assert plans == ["PREMIUM", "PREMIUM", "FREE"]
    first = result["tenants"][0]
    assert first["analytics"]["trades"] == first["usage"]["trades"] > 0
    assert first["alerts"] > 0


async def test_every_implemented_column_of_the_old_design_is_filled(default_demo: FinishedDemo) -> None:
    """All but the tables of exchange accounts, of which a demo on paper has none: see the tests of custody."""
    owner = await asyncpg.connect(default_demo.owner_dsn)
    try:
        places = [
            place for old in OLD.values() for place in old.places if not place.startswith("trading.exchange_")
        ]
        empty = [place for place in places if not await is_filled(owner, place)]
    finally:
        await owner.close()
    assert not empty, "\n".join(empty)


async def is_filled(owner: asyncpg.Connection, place: str) -> bool:
    table, _, column = place.rpartition(".")
    return bool(await owner.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE {column} IS NOT NULL)"))
