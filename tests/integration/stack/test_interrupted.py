"""A platform that is interrupted or cannot start leaves nothing behind."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stack.migrate import ROOT
from tests.integration.stack.commands import tradefleet, wait_until_gone
from tests.integration.stack.conftest import listening
from tests.pace import patient

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
@pytest.mark.parametrize("detached", [["--detach"], []], ids=["detached", "attached"])
def test_a_requested_port_in_use_is_one_line_and_exit_code_2(
    new_home: Path, family: int, address: str, detached: list[str]
) -> None:
    with listening(family, address) as port:
        done = tradefleet("up", *detached, "--home", str(new_home), "--port", str(port))
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert f"port {port} is taken" in done.stderr
    assert tradefleet("status", "--home", str(new_home)).exit_code == 1


@pytest.mark.parametrize(
    ("command", "begun", "times"),
    [
        ("up", "sandbox-bybit", 1),  # the first process: the servers' folders are still being created
        ("up", "postgres", 3),
        ("demo", "sandbox-bybit", 3),
        ("faults", "kafka", 3),
    ],
)
def test_ctrl_c_during_start_leaves_nothing(new_home: Path, command: str, begun: str, times: int) -> None:
    """Ctrl-C is pressed several times, as by users who think that the stack does not stop."""
    folder = new_home.parent
    arguments = ["--home", str(new_home)] if command == "up" else []
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", command, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    pids = _pids_once(begun, new_home if command == "up" else folder / ".tradefleet")
    for _ in range(times):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        time.sleep(0.15)
    _, errors = process.communicate(timeout=patient(60))
    assert process.returncode == 130, errors
    assert b"Traceback" not in errors
    wait_until_gone(pids)
    assert command == "up" or not list((folder / ".tradefleet").iterdir())


def _pids_once(begun: str, folder: Path) -> list[int]:
    """Return the pids of the first processes, once the stack has recorded this one."""
    deadline = time.monotonic() + 120
    while True:
        assert time.monotonic() < deadline
        time.sleep(0.05)
        for file in folder.rglob("state.json"):
            processes = json.loads(file.read_text())["processes"]
            if any(each["name"] == begun for each in processes):
                return [each["pid"] for each in processes]
