"""A Postgres and a Kafka for these tests alone, which may be killed, frozen, restarted and emptied."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import asyncpg
import psutil

from stack.kafka import KafkaServer
from stack.migrate import DatabaseAccess, create_database, migrate
from stack.ports import Ports
from stack.postgres import PostgresServer, popen_user
from stack.process import die_with_parent
from stack.users import change_owner, server_user
from tests.backend import PASSWORD
from tests.conftest import database_of
from tests.pace import patient

START_WITHIN_S = patient(60)
# Only processes crash here, not the machine, so fsync is not needed.
NO_DISK = ("-c", "fsync=off", "-c", "full_page_writes=off")


class Killable:
    """A server that no other test uses."""

    port: int
    at_once = signal.SIGKILL  # ends all its processes

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, and return when it accepts connections."""
        self.begin()
        self.wait()

    def wait(self) -> None:
        deadline = time.monotonic() + START_WITHIN_S
        while not self.accepts():
            assert time.monotonic() < deadline, self._log.read_text()[-2000:]
            time.sleep(0.05)

    def begin(self) -> None:
        """Start the server without waiting."""
        raise NotImplementedError

    def send(self, number: signal.Signals) -> None:
        """Send to all its processes, the parent first, so that it starts no more of them."""
        assert self._process is not None, "start() first"
        self._process.send_signal(number)
        for child in psutil.Process(self._process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                child.send_signal(number)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill the server, and return when it is gone."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def heal(self) -> None:
        """Restore the server after a test, whatever the test did to it."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is None:
            self.start()
        else:
            self.send(signal.SIGCONT)

    def stop(self) -> None:
        """Stop the server for good, even if it is frozen."""
        if self._process is not None and self._process.poll() is None:
            self.send(signal.SIGCONT)
        self.kill(self.at_once)

    def accepts(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        return False

    @property
    def _log(self) -> Path:
        return self.folder.with_suffix(".log")

    def _run(self, command: Sequence[str], *, as_server: bool) -> None:
        assert self._process is None, "it runs"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(die_with_parent, os.getpid()),
                **(popen_user(server_user()) if as_server else {}),
            )


class KillablePostgres(Killable):
    at_once = signal.SIGQUIT

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port
        folder.mkdir(mode=0o700)
        change_owner(folder, server_user())
        self._server = PostgresServer(folder, port, PASSWORD)

    @property
    def dsn(self) -> str:
        return self._server.dsn()

    def begin(self) -> None:
        self._server.prepare()
        self._run([*self._server.command(), *NO_DISK], as_server=True)

    def stop_at_once(self) -> None:
        """Stop it as in a crash, so that it has to recover."""
        self.kill(self.at_once)

    async def answers(self) -> None:
        """Wait until it has recovered."""
        async with asyncio.timeout(START_WITHIN_S):
            while True:
                try:
                    connection = await asyncpg.connect(self.dsn)
                except (OSError, asyncpg.PostgresError):
                    await asyncio.sleep(0.02)
                else:
                    await connection.close()
                    return


class KillableKafka(Killable):
    def __init__(self, folder: Path, port: int, controller_port: int) -> None:
        super().__init__(folder)
        self.port = port
        self._server = KafkaServer(folder, port, controller_port)
        self.bootstrap = self._server.bootstrap

    def begin(self) -> None:
        self._server.prepare()
        self._run(self._server.command(), as_server=False)

    def empty(self) -> None:
        """Delete its log, and with it the topics, offsets and the cluster id."""
        assert self._process is None, "kill() first"
        shutil.rmtree(self.folder / "data")


class OwnServers:
    """Both servers, and the name of a template database with analytics' tables."""

    template = "template_of_faults"

    def __init__(self, folder: Path) -> None:
        ports = Ports()
        numbers = [ports.take() for _ in range(3)]
        ports.release()
        self.postgres = KillablePostgres(folder / "postgres", numbers[0])
        self.kafka = KillableKafka(folder / "kafka", numbers[1], numbers[2])

    def start(self) -> None:
        self.kafka.begin()
        self.postgres.start()
        asyncio.run(self._make_template())
        self._wait()

    async def _make_template(self) -> None:
        access: DatabaseAccess = database_of(self.postgres.dsn, self.template)
        await create_database(self.postgres.dsn, access)
        await migrate(access, ["analytics"])

    def heal(self) -> None:
        for server in (self.postgres, self.kafka):
            server.heal()
        self._wait()

    def _wait(self) -> None:
        for server in (self.postgres, self.kafka):
            server.wait()

    def stop(self) -> None:
        for server in (self.postgres, self.kafka):
            server.stop()
