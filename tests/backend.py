"""Provide the real Postgres and Kafka for the tests: external ones, containers, or servers started for the run."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import asyncpg
from filelock import FileLock

from stack.kafka import KafkaServer
from stack.postgres import PostgresServer, popen_user
from stack.users import change_owner, server_user
from tests.closed_sockets import open_sockets
from tests.pace import patient

RUN_FOLDER = "TRADEFLEET_TEST_RUN"
RUN_PID = "TRADEFLEET_TEST_RUN_PID"
DURABLE = "TRADEFLEET_TEST_DURABLE"  # if set, commits are flushed to disk, as in production
_STARTED: list[subprocess.Popen[bytes]] = []  # referenced, so that none is reported as leaked
MEMORY, ROOM_BYTES = Path("/dev/shm"), 6 * 2**30
READY_TIMEOUT_S = 60
PASSWORD = "devpassword"


@dataclass
class Servers:
    """A superuser's DSN, a bootstrap address, and the processes and containers this run has to stop."""

    postgres_dsn: str
    kafka_bootstrap: str
    pids: list[int] = field(default_factory=list)
    containers: list[str] = field(default_factory=list)


def begin_run() -> Path:
    """Create a folder that all test processes of this run share.

    In memory if there is room: a database has some 600 files, and creating and removing them for each test on a
    disk file system takes a third of the run's processor time.
    """
    folder = Path(tempfile.mkdtemp(prefix="tradefleet-tests-", dir=MEMORY if _has_room(MEMORY) else None))
    folder.chmod(0o755)
    os.environ[RUN_FOLDER] = str(folder)
    os.environ[RUN_PID] = str(os.getpid())
    return folder


def _has_room(folder: Path) -> bool:
    if DURABLE in os.environ or not os.access(folder, os.W_OK):
        return False
    available_bytes = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min(shutil.disk_usage(folder).free, available_bytes) > ROOM_BYTES


def servers_of_run() -> Servers:
    """Return the run's servers; the first caller starts them."""
    folder = Path(os.environ[RUN_FOLDER])
    with FileLock(folder / "servers.lock", timeout=300):
        state_file = folder / "servers.json"
        if state_file.exists():
            return Servers(**json.loads(state_file.read_text()))
        with open_sockets():  # Kafka is fetched if it is not there yet
            servers = _start(folder)
        state_file.write_text(json.dumps(asdict(servers)))
        return servers


def end_run(folder: Path) -> None:
    """Stop what this run started and remove its folder."""
    state_file = folder / "servers.json"
    if state_file.exists():
        servers = Servers(**json.loads(state_file.read_text()))
        for pid in servers.pids:
            _end(pid)
        for container in servers.containers:
            subprocess.run(["docker", "rm", "-f", container], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> Servers:
    if os.environ.get("TEST_BACKEND") == "containers":
        return _containers()
    servers = Servers(os.environ.get("TEST_POSTGRES_DSN", ""), os.environ.get("TEST_KAFKA_BOOTSTRAP", ""))
    if not servers.postgres_dsn:
        _start_postgres(folder, servers)
    if not servers.kafka_bootstrap:
        _start_kafka(folder, servers)
    if servers.pids:
        _watch_over(folder, servers)
    return servers


def _watch_over(folder: Path, servers: Servers) -> None:
    """Start the watchdog: a run that is killed cannot stop its own servers."""
    arguments = [os.environ[RUN_PID], str(folder), *map(str, servers.pids)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.watchdog", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        cwd=Path(__file__).parents[1],
    )
    _STARTED.append(process)


def _containers() -> Servers:
    """Start the servers with testcontainers.

    They live as long as the run, not as long as the process that started them.
    """
    from testcontainers.community.kafka import KafkaContainer
    from testcontainers.community.postgres import PostgresContainer

    os.environ["TESTCONTAINERS_RYUK_DISABLED"] = "true"
    postgres = PostgresContainer("postgres:18", password=PASSWORD, driver=None)
    postgres.with_command("-c max_connections=300")
    postgres.start()
    kafka = KafkaContainer().with_kraft()
    kafka.start()
    ids = [str(container.get_wrapped_container().id) for container in (postgres, kafka)]
    return Servers(postgres.get_connection_url(), kafka.get_bootstrap_server(), containers=ids)


def _start_postgres(folder: Path, servers: Servers) -> None:
    data = folder / "postgres"
    data.mkdir(mode=0o700, exist_ok=True)
    change_owner(data, server_user())
    server = PostgresServer(data, _free_port(), PASSWORD, max_connections=300)
    server.prepare()
    unsafe_but_fast = [] if DURABLE in os.environ else ["-c", "fsync=off", "-c", "full_page_writes=off"]
    with (folder / "postgres.log").open("w") as log:
        process = subprocess.Popen(
            [*server.command(), *unsafe_but_fast],
            stdout=log,
            stderr=log,
            start_new_session=True,
            **popen_user(server_user()),
        )
    _STARTED.append(process)
    servers.pids.append(process.pid)
    servers.postgres_dsn = server.dsn()
    _wait_until(lambda: _accepts(server.port), folder / "postgres.log")


def _start_kafka(folder: Path, servers: Servers) -> None:
    server = KafkaServer(folder / "kafka", _free_port(), _free_port())
    server.prepare()
    with (folder / "kafka.log").open("w") as log:
        process = subprocess.Popen(server.command(), stdout=log, stderr=log, start_new_session=True)
    _STARTED.append(process)
    servers.pids.append(process.pid)
    servers.kafka_bootstrap = server.bootstrap
    _wait_until(lambda: _accepts(server.port), folder / "kafka.log")


def _wait_until(holds: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + patient(READY_TIMEOUT_S)
    while not holds():
        assert time.monotonic() < deadline, f"a server did not start: {log.read_text()[-2000:]}"
        time.sleep(0.05)


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _end(pid: int) -> None:
    for number, patience_s in ((signal.SIGINT, 5.0), (signal.SIGKILL, 1.0)):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.05)


async def admin_execute(dsn: str, *statements: str) -> None:
    """Run statements outside a transaction, as the superuser."""
    connection = await asyncpg.connect(dsn)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()
