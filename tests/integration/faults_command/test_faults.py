"""A short fault run: both servers crash, processes die and freeze at named points, and every invariant holds."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.cleanup import remove_home
from tests.integration.stack.commands import open_to_servers
from tests.pace import patient

pytestmark = pytest.mark.timeout(330)

SEED = "640"  # its plan has no long freeze, and both servers crash
ROUNDS = "2"
STRIKES = 12  # the number that the plan contains
SEVERAL = 5  # a process that is still restarting may miss its turn


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    base = open_to_servers(tmp_path_factory.mktemp("faults"))
    yield base / "run"
    remove_home(base / "run")


@pytest.fixture(scope="module")
def run(home: Path) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP"}
    options = ["--seed", SEED, "--rounds", ROUNDS, "--family", "A,B,C,D", "--home", str(home), "--json"]
    return subprocess.run(
        [sys.executable, "-m", "cli", "faults", *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(300),
        env=environment,
    )


@pytest.fixture(scope="module")
def report(run: "subprocess.CompletedProcess[str]") -> Any:
    assert run.returncode == 0, run.stdout + run.stderr
    return json.loads(run.stdout)


def test_nothing_is_lost_duplicated_or_mixed_up(report: Any) -> None:
    assert (report["violations"], report["ok"]) == ([], True)


def test_strikes_happen_at_the_planned_points(report: Any) -> None:
    struck = report["kills"] + report["freezes"]
    missed = sum(point["missed"] for point in report["points"].values())
    assert struck + missed >= STRIKES
    assert struck >= SEVERAL


def test_both_servers_crashed_and_recovered(report: Any) -> None:
    assert (report["faults"]["crash postgres"], report["faults"]["crash kafka"]) == (1, 1)
    assert set(report["outages_s"]) == {"postgres", "kafka"}


def test_the_platform_was_used_during_the_faults(report: Any, home: Path) -> None:
    assert report["calls"]["ok"] > 50
    calls = [json.loads(line) for line in (home / "calls.jsonl").read_text().splitlines()]
    assert len(calls) == sum(report["calls"].values())
    kinds = {call["made"]["kind"] for call in calls if call["made"]}
    assert kinds >= {"user", "strategy", "session", "alert", "watch", "account"}


def test_live_sessions_traded_on_the_failing_exchange(report: Any, home: Path) -> None:
    assert (home / "exchange.jsonl").read_text().count("\n") > report["executions"] > 2
    assert sum(times for name, times in report["faults"].items() if name.startswith("exchange: ")) == 2 * int(
        ROUNDS
    )


def test_published_messages_are_kept_as_evidence(report: Any, home: Path) -> None:
    messages = [json.loads(line) for line in (home / "topics.jsonl").read_text().splitlines()]
    assert len(messages) == report["messages"]
    assert {"user.registered", "subscription.changed", "session.started", "trade.closed", "candle.closed"} <= {
        message["topic"] for message in messages
    }


def test_the_seed_and_its_plan_are_printed(run: "subprocess.CompletedProcess[str]") -> None:
    assert f"seed {SEED}, families A,B,C,D" in run.stderr
    assert "round 2:" in run.stderr
