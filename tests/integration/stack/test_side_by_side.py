"""Two stacks on one machine, started at once with the same settings; and what a client gets when a service dies."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.stack.test_stack import alive, fetch, status, tradefleet
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def homes(tmp_path: Path) -> Iterator[list[Path]]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    folders = [tmp_path / "one", tmp_path / "other"]
    yield folders
    for home in folders:
        tradefleet("down", "--home", str(home))


def start(homes: list[Path]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP"}
    started = [
        subprocess.Popen(
            [sys.executable, "-m", "cli", "up", "--detach", "--home", str(home)],
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        for home in homes
    ]
    assert [process.wait(timeout=patient(120)) for process in started] == [0] * len(homes)


def pid_of(state: Any, name: str) -> int:
    return next(int(process["pid"]) for process in state["processes"] if process["name"] == name)


def until_code(url: str, code: int, within_s: float = 30) -> str:
    deadline = time.monotonic() + patient(within_s)
    while (answer := fetch(url))[0] != code:
        assert time.monotonic() < deadline, f"{url} still says {answer[0]}"
        time.sleep(0.05)
    return answer[2]


def test_two_stacks_run_side_by_side_and_one_dies_without_the_other(homes: list[Path]) -> None:
    start(homes)
    one, other = (status(home) for home in homes)
    for key in ("gateway", "postgres", "kafka"):
        assert one[key] != other[key]
    assert not {*one["services"].values()} & {*other["services"].values()}
    _assert_a_killed_service_gives_a_problem_and_recovers(one)
    supervisor = json.loads((homes[0] / "state.json").read_text())["supervisor"]["pid"]
    os.kill(supervisor, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while left := alive([process["pid"] for process in one["processes"]]):
        assert time.monotonic() < deadline, f"left behind: {left}"
        time.sleep(0.1)
    assert all(process["healthy"] for process in status(homes[1])["processes"])
    assert fetch(other["gateway"] + "/v1/plans")[0] == 200


def _assert_a_killed_service_gives_a_problem_and_recovers(state: Any) -> None:
    os.kill(pid_of(state, "billing"), signal.SIGKILL)
    problem = json.loads(until_code(state["gateway"] + "/v1/plans", 502))
    assert problem["status"] == 502
    until_code(state["gateway"] + "/readyz", 200)
    assert fetch(state["gateway"] + "/v1/plans")[0] == 200
