"""Helpers that use a local platform as its operator does: by commands, requests and signals."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
from click.testing import CliRunner, Result

from cli.__main__ import tradefleet as command_line
from tests.pace import patient


def tradefleet(*arguments: str) -> Result:
    """Run a command in this process, as starting an interpreter for each takes seconds."""
    return CliRunner().invoke(command_line, arguments, env={"KAFKA_BOOTSTRAP": None})


def environment() -> dict[str, str]:
    """Return ours for a process of the command line, without a broker of another program."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KAFKA_")}


def status(home: Path) -> Any:
    done = tradefleet("status", "--home", str(home), "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def unhealthy(home: Path) -> set[str]:
    return {process["name"] for process in status(home)["processes"] if not process["healthy"]}


def open_to_servers(folder: Path) -> Path:
    """Let the servers' user pass through the folder: as root, Postgres runs as another user.

    pytest closes three folders above a test's own, with several processes. A home that this user cannot reach would
    have its database on the disk, outside the run's folder.
    """
    for each in (folder, *folder.parents[:3]):
        each.chmod(0o755)
    return folder


def fetch(url: str, body: object = None) -> tuple[int, str, str]:
    """Return status, content type and body of a GET, or of a POST if a body is given."""
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url, data, {"Content-Type": "application/json"}), timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def until(holds: Callable[[], bool], within_s: float = 30) -> None:
    deadline = time.monotonic() + patient(within_s)
    while not holds():
        assert time.monotonic() < deadline, "the condition did not become true"
        time.sleep(0.05)


def until_answers(url: str, code: int) -> str:
    """Wait until the URL is answered with this status; return the body."""
    bodies: list[str] = []

    def answers() -> bool:
        found, _, body = fetch(url)
        bodies.append(body)
        return found == code

    until(answers)
    return bodies[-1]


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


def wait_until_gone(pids: list[int], within_s: float = 20) -> None:
    deadline = time.monotonic() + patient(within_s)
    while left := alive(pids):
        assert time.monotonic() < deadline, f"left behind: {[psutil.Process(pid).cmdline() for pid in left]}"
        time.sleep(0.1)
