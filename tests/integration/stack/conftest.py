"""Two platforms for all of these tests, started at once: starting one takes as long as all tests that use it."""

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from stack.cleanup import remove_home
from stack.stack import GATEWAY_PORT
from tests.integration.stack.commands import environment, open_to_servers, tradefleet
from tests.pace import patient

FOREIGN = {"AWS_SECRET_ACCESS_KEY": "of-another-program", "TRADEFLEET_BACKUP_KEY": "kept", "POSTGRES_PASSWORD": "x"}


@contextmanager
def listening(family: int, address: str, port: int = 0) -> Iterator[int]:
    """Listen on the port as another program, as soon as no other does; yield the port, or 0 while one does."""
    done = threading.Event()
    with socket.socket(family) as taken:

        def occupy() -> bool:
            with suppress(OSError):
                taken.bind((address, port))
                taken.listen()
                return True
            return False

        def follow() -> None:
            while not done.wait(0.001) and not occupy():
                pass

        follower = None if occupy() else threading.Thread(target=follow)
        if follower is not None:
            follower.start()
        try:
            yield int(taken.getsockname()[1])
        finally:
            done.set()
            if follower is not None:
                follower.join()


@dataclass(frozen=True)
class Platforms:
    """Their homes, and what the start of each printed. `shared` keeps running; `doomed` is for a single module."""

    shared: Path
    doomed: Path
    printed: dict[Path, str]


@pytest.fixture(scope="package")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    """Start both with the same settings, while the gateway's default port is in use, with secrets of other programs
    in the environment and in a home that all users may read."""
    folder = open_to_servers(tmp_path_factory.mktemp("platforms"))
    shared, doomed = homes = (folder / "shared", folder / "doomed")
    for home in homes:
        (home / "logs").mkdir(parents=True)
        (home / "logs" / "auth.log").write_text("of an earlier version\n")
    try:
        with listening(socket.AF_INET, "127.0.0.1", GATEWAY_PORT):
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
