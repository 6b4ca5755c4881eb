"""Two platforms for all of these tests, started at once: starting one takes as long as all tests that use it."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.cleanup import remove_home
from tests.integration.stack.commands import environment, open_to_servers, tradefleet
from tests.pace import patient

FOREIGN = {"AWS_SECRET_ACCESS_KEY": "of-another-program", "TRADEFLEET_BACKUP_KEY": "kept", "POSTGRES_PASSWORD": "x"}


@contextmanager
def listening(family: int, address: str) -> Iterator[int]:
    """Listen on a free port as another program; yield the port."""
    with socket.socket(family) as taken:
        taken.bind((address, 0))
        taken.listen()
        yield int(taken.getsockname()[1])


@dataclass(frozen=True)
class Platforms:
    """Their homes, and what the start of each printed. `shared` keeps running; `doomed` is for a single module."""

    shared: Path
    doomed: Path
    printed: dict[Path, str]


@pytest.fixture(scope="package")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Start both with the same settings, the gateway's default port too, with secrets of other programs in the
    environment and in a home that all users may read."""
    folder = open_to_servers(tmp_path_factory.mktemp("platforms"))
    shared, doomed = homes = (folder / "shared", folder / "doomed")
    for home in homes:
        (home / "logs").mkdir(parents=True)
        (home / "logs" / "auth.log").write_text("of an earlier version\n")
    try:
        starting = [_start(home) for home in homes]
        printed = {home: process.communicate(timeout=patient(120)) for home, process in starting}
        assert [process.returncode for _, process in starting] == [0, 0], printed
        yield Platforms(shared, doomed, {home: output for home, (output, _) in printed.items()})
    finally:
        for home in homes:
            tradefleet("down", "--home", str(home))
            remove_home(home)


def _start(home: Path) -> tuple[Path, "subprocess.Popen[str]"]:
    return home, subprocess.Popen(
        [sys.executable, "-m", "cli", "up", "--detach", "--home", str(home)],
        env={**environment(), **FOREIGN, "LOG_LEVEL": "WARNING"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture(scope="package")
def shared(platforms: Platforms) -> Path:
    """Return the home of a running platform; a test must leave it running."""
    return platforms.shared


@pytest.fixture
def new_home(tmp_path: Path) -> Iterator[Path]:
    """Return a home for a platform that the test starts."""
    home = open_to_servers(tmp_path) / "stack"
    yield home
    tradefleet("down", "--home", str(home))
    remove_home(home)
