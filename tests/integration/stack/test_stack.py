"""The local stack as an operator uses it: up, status, down, and kills."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import psutil
import pytest

from stack.migrate import ROOT
from stack.stack import GATEWAY_PORT
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)

NAMES = {
    "postgres",
    "kafka",
    "gateway",
    "auth",
    "billing",
    "trading",
    "feed",
    "backtests",
    "analytics",
    "notifications",
    "sandbox-bybit",
}


def tradefleet(*arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if name != "KAFKA_BOOTSTRAP"}
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(200),
        env=environment,
    )


def status(home: Path) -> Any:
    done = tradefleet("status", "--home", str(home), "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # as root, Postgres runs as another user
    yield tmp_path / "stack"
    tradefleet("down", "--home", str(tmp_path / "stack"))


def fetch(url: str) -> tuple[int, str, str]:
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def wait_until_gone(pids: list[int], within_s: float = 20) -> None:
    deadline = time.monotonic() + patient(within_s)
    while left := alive(pids):
        assert time.monotonic() < deadline, f"left behind: {[psutil.Process(pid).cmdline() for pid in left]}"
        time.sleep(0.1)


@contextmanager
def listening(family: int, address: str, port: int = 0) -> Iterator[int]:
    """Listen on the port as another program; yield None if the port cannot be bound on this machine."""
    with socket.socket(family) as taken:
        with suppress(OSError):
            taken.bind((address, port))
            taken.listen()
        yield int(taken.getsockname()[1])


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("detached", [["--detach"], []], ids=["detached", "attached"])
def test_a_requested_port_in_use_is_one_line_and_exit_code_2(
    home: Path, family: int, address: str, detached: list[str]
) -> None:
    with listening(family, address) as port:
        done = tradefleet("up", *detached, "--home", str(home), "--port", str(port))
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"port {port} is taken" in done.stderr
    assert tradefleet("status", "--home", str(home)).returncode == 1


def test_up_status_and_down_while_a_default_port_is_in_use(home: Path) -> None:
    port = GATEWAY_PORT
    with listening(socket.AF_INET, "127.0.0.1", port):
        started = tradefleet("up", "--detach", "--home", str(home))
    assert started.returncode == 0, started.stderr
    assert f"PORT {port} IS TAKEN" in started.stdout
    state = status(home)
    assert not state["gateway"].endswith(f":{port}")
    assert set(state["services"]) == {"auth", "billing", "trading", "analytics", "notifications"}
    assert state["postgres"].startswith("postgresql://127.0.0.1:")
    assert state["kafka"].startswith("127.0.0.1:")
    assert {process["name"] for process in state["processes"]} == NAMES
    assert all(process["healthy"] for process in state["processes"]), state["processes"]
    _gateway_answers(state["gateway"])
    again = tradefleet("up", "--detach", "--home", str(home))
    assert (again.returncode, again.stderr.count("\n")) == (2, 1)
    assert tradefleet("down", "--home", str(home)).returncode == 0
    wait_until_gone([process["pid"] for process in state["processes"]])
    assert tradefleet("status", "--home", str(home)).returncode == 1


def _gateway_answers(gateway: str) -> None:
    assert fetch(gateway + "/readyz")[0] == 200
    assert fetch(gateway + "/healthz")[0] == 200
    assert "/v1/sessions" in json.loads(fetch(gateway + "/openapi.json")[2])["paths"]
    assert len(json.loads(fetch(gateway + "/v1/plans")[2])["items"]) == 3
    code, kind, page = fetch(gateway + "/docs")
    assert (code, kind.partition(";")[0]) == (200, "text/html")
    assert "/docs/start.js" in page
    assert fetch(gateway + "/docs/swagger_bundle.js")[0] == 200
    assert 'id="email-taken"' in fetch(gateway + "/problems/email-taken")[2]
    code, kind, _ = fetch(gateway + "/v1/sessions")
    assert (code, kind) == (401, "application/problem+json; charset=utf-8")
    code, kind, body = fetch(gateway + "/nothing/here")
    assert (code, kind, json.loads(body)["status"]) == (404, "application/problem+json", 404)


def test_a_killed_stack_leaves_nothing_and_the_next_start_works(home: Path) -> None:
    assert tradefleet("up", "--detach", "--home", str(home), "--port", "18080").returncode == 0
    state = json.loads((home / "state.json").read_text())
    victim = next(process["pid"] for process in state["processes"] if process["name"] == "billing")
    os.kill(victim, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while not all(process["healthy"] for process in status(home)["processes"]):
        assert time.monotonic() < deadline, "billing was not brought back"
        time.sleep(0.2)
    pids = [process["pid"] for process in status(home)["processes"]]
    os.kill(state["supervisor"]["pid"], signal.SIGKILL)
    wait_until_gone(pids)
    assert tradefleet("status", "--home", str(home)).returncode == 1
    assert tradefleet("up", "--detach", "--home", str(home), "--port", "18080").returncode == 0
    assert all(process["healthy"] for process in status(home)["processes"])


@pytest.mark.parametrize(("command", "times"), [("up", 1), ("up", 3), ("demo", 3), ("faults", 3)])
def test_ctrl_c_during_start_leaves_nothing(home: Path, command: str, times: int) -> None:
    """Ctrl-C is pressed several times, as by users who think that the stack does not stop."""
    home.parent.mkdir(exist_ok=True)
    arguments = ["--home", str(home)] if command == "up" else []
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", command, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=home.parent,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    pids = _pids_of_start(home if command == "up" else home.parent / ".tradefleet")
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.15)
    _, errors = process.communicate(timeout=patient(60))
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    wait_until_gone(pids)
    assert command == "up" or not list((home.parent / ".tradefleet").iterdir())


def _pids_of_start(folder: Path) -> list[int]:
    """Return the pids of the first processes, once the stack has recorded them."""
    deadline = time.monotonic() + 120
    while not (found := list(folder.rglob("state.json"))):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return [note["pid"] for note in json.loads(found[0].read_text())["processes"]]
