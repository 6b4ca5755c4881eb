"""The five services as processes, with a tenant who has created one of everything."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import asyncpg
import psutil
import requests

from shared.testing.api_client import PASSWORD, open_client
from shared.testing.tenant import KINDS, Tenant, until_known
from stack.billing_database import grant
from stack.environment import SHARED_ADDRESS_LIMITS
from stack.migrate import ROLES, ROOT, SERVICES, DatabaseAccess
from stack.ports import Ports
from stack.process import die_with_parent
from stack.reference.files import write_reference
from stack.stack import CADDYFILE
from stack.tools import find_tool
from tests.integration.accounts import write_signing_key
from tests.pace import patient
from tests.processes import ServiceProcess
from tests.unit.trading.scenes import CROSS

EMAIL = "hostile@example.org"
START_S = 60.0
ROLES_WITHOUT_JOBS = "http,consumers,relay"  # no workers and jobs, so that only the request under test changes rows

CANDLES = """
    INSERT INTO instruments VALUES ('bybit', 'BTCUSDT', 0.01, 0.001, 0.001, 5);
    INSERT INTO series (venue, symbol, interval, anchor) VALUES ('bybit', 'BTCUSDT', '15', '2026-01-01T00:00:00Z');
    INSERT INTO candles (series_id, open_time, open, high, low, close, volume, origin)
    SELECT series_id, anchor + n * interval '15 minutes', 100, 101, 99, 100, 1, 'HISTORY'
    FROM series, generate_series(0, 19) AS n
"""


@dataclass
class Process:
    """One of the world's server processes, its address and its log."""

    url: str
    log: Path
    popen: subprocess.Popen[bytes] | ServiceProcess
    _paths: frozenset[str] = frozenset()

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def resident_bytes(self) -> int:
        return int(psutil.Process(self.popen.pid).memory_info().rss)

    def peak_bytes(self) -> int:
        """Return the peak of resident memory, including memory released since."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text()
        return 1024 * int(status.partition("VmHWM:")[2].split()[0])

    def connections(self) -> int:
        """Return the number of open client connections."""
        held = psutil.Process(self.popen.pid).net_connections("tcp")
        return sum(1 for one in held if one.laddr.port == self.port and one.status != psutil.CONN_LISTEN)

    def tracebacks(self, since: int) -> list[str]:
        """Return the log's lines from that offset on that contain a traceback."""
        return [line for line in self.written(since).splitlines() if "Traceback" in line or '"exception"' in line]

    def log_size(self) -> int:
        return self.log.stat().st_size

    def written(self, since: int = 0) -> str:
        return self.log.read_bytes()[since:].decode(errors="replace")

    def paths(self) -> frozenset[str]:
        """Return the paths of its OpenAPI document."""
        if not self._paths:
            self._paths = frozenset(requests.get(f"{self.url}/openapi.json", timeout=10).json()["paths"])
        return self._paths

    def stop(self) -> None:
        self.popen.send_signal(signal.SIGTERM)
        try:
            self.popen.wait(15)
        except subprocess.TimeoutExpired:
            self.popen.kill()
            self.popen.wait()


@dataclass
class World:
    """`created` has the id of the tenant's first object by the path that lists it."""

    services: Mapping[str, Process]
    gateway: Process
    database: DatabaseAccess
    commands: Mapping[str, tuple[list[str], Mapping[str, str]]]
    token: str = ""
    created: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def log_in(self) -> None:
        """Log in again: an access token lasts ten minutes, so each test uses a new one."""
        body = {"email": EMAIL, "password": PASSWORD}
        answer = requests.post(f"{self.services['auth'].url}/v1/auth/login", json=body, timeout=10)
        self.token = str(answer.json()["access_token"])

    def register(self, email: str) -> str:
        """Register another tenant, wait until trading knows them, and return their token."""
        return asyncio.run(_register(self, email))

    def process(self, name: str) -> Process:
        return self.gateway if name == "gateway" else self.services[name]

    @contextlib.contextmanager
    def another(self, name: str, port: int, **env: str) -> Iterator[Process]:
        """Start another process of a service or of the gateway, with other settings, at that port."""
        command, environment = self.commands[name]
        at = {"HTTP_PORT": str(port), "GATEWAY_LISTEN": f"http://:{port}"}
        process = _start(f"{name}-{port}", command, {**environment, **at, **env}, port, self.gateway.log.parent)
        try:
            _wait_for(process)
            yield process
        finally:
            process.stop()

    def service_of(self, path: str) -> Process:
        return next(process for process in self.services.values() if path in process.paths())

    def rows_of(self, process: Process) -> dict[str, int]:
        """Count the rows of the service's tables, except those that it fills from consumed events, and those of the
        outbox that report requests."""
        service = next(name for name, each in self.services.items() if each is process)
        return asyncio.run(_row_counts(self.database.owner_dsn, service))


# Prefixes of tables. The last three are of `usage.recorded`.
FILLED_FROM_EVENTS = (
    *("inbox", "parked", "user_activity_log", "activity_"),
    *("api_usage_reports", "user_api_usage", "request_quotas"),
)


async def _row_counts(dsn: str, schema: str) -> dict[str, int]:
    connection = await asyncpg.connect(dsn)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = $1", schema)
        names = sorted(row["tablename"] for row in tables if not row["tablename"].startswith(FILLED_FROM_EVENTS))
        counted = " UNION ALL ".join(
            f"SELECT '{name}', count(*) FROM {schema}.{name}"
            + (" WHERE topic <> 'usage.recorded'" if name.startswith("outbox") else "")
            for name in names
        )
        return {row[0]: row[1] for row in await connection.fetch(counted)}
    finally:
        await connection.close()


@contextlib.contextmanager
def running_world(
    folder: Path, database: DatabaseAccess, kafka: str, topic_prefix: str, env: Mapping[str, str]
) -> Iterator[World]:
    """Start the world; `env` is added to every service's environment."""
    ports = Ports()
    numbers = {name: ports.take() for name in (*SERVICES, "gateway", "exchange")}
    at = {name: f"127.0.0.1:{number}" for name, number in numbers.items()}
    shared = {
        "KAFKA_BOOTSTRAP": kafka,
        "KAFKA_TOPIC_PREFIX": topic_prefix,
        "JWKS_URL": f"http://{at['auth']}/.well-known/jwks.json",
        **SHARED_ADDRESS_LIMITS,
        "AUTH_SIGNING_KEY_FILE": str(write_signing_key(folder)),
        "AUTH_FREE_ATTEMPTS_ACCOUNT": "1000000",  # nearly all requests here fail
        "AUTH_FREE_ATTEMPTS_NETWORK": "1000000",
        "BYBIT_REST_URL": f"http://{at['exchange']}",
        **env,
    }
    commands: dict[str, tuple[list[str], Mapping[str, str]]] = {}
    with contextlib.ExitStack() as stack:
        stack.callback(ports.release)

        def start(name: str, command: list[str], environment: Mapping[str, str]) -> Process:
            commands[name] = (command, environment)
            ports.release(numbers[name])
            process = _start(name, command, environment, numbers[name], folder)
            stack.callback(process.stop)
            return process

        start("exchange", ["tests.hostile.exchange", str(numbers["exchange"])], {})
        services = {}
        for name in SERVICES:
            dsns = {f"POSTGRES_{role.upper()}_DSN": database.dsn(f"{name}_{role}") for role in ROLES}
            command = [f"services.{name}", "--only", ROLES_WITHOUT_JOBS]
            services[name] = start(name, command, {**shared, **dsns, "HTTP_PORT": str(numbers[name])})
        configured = ["--config", str(CADDYFILE), "--adapter", "caddyfile"]
        addresses = {f"{name.upper()}_ADDRESS": at[name] for name in SERVICES}
        caddy_folders = dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME"), str(folder / "caddy"))
        write_reference(folder / "gateway")
        listening = {"GATEWAY_LISTEN": f"http://:{numbers['gateway']}", "GATEWAY_FILES": str(folder / "gateway")}
        gateway = start(
            "gateway", [str(find_tool("caddy")), "run", *configured], {**addresses, **caddy_folders, **listening}
        )
        for process in (*services.values(), gateway):
            _wait_for(process)
        world = World(services, gateway, database, commands)
        asyncio.run(_populate(world))
        yield world


def _start(name: str, command: list[str], environment: Mapping[str, str], port: int, folder: Path) -> Process:
    """Start a module, or the gateway, which is a program."""
    log, environment = folder / f"{name}.log", {**os.environ, **environment}
    log.unlink(missing_ok=True)
    is_program = command[0].startswith("/")
    popen = _run(command, environment, log) if is_program else ServiceProcess(command, environment, log)
    return Process(f"http://127.0.0.1:{port}", log, popen)


def _run(command: list[str], environment: Mapping[str, str], log: Path) -> "subprocess.Popen[bytes]":
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )


def _wait_for(process: Process) -> None:
    deadline = time.monotonic() + patient(START_S)
    while True:
        with contextlib.suppress(requests.ConnectionError, requests.ReadTimeout):
            if requests.get(f"{process.url}/readyz", timeout=5).status_code == 200:
                return
        assert process.popen.poll() is None, f"it ended: {process.written()[-2000:]}"
        assert time.monotonic() < deadline, f"not ready: {process.written()[-2000:]}"
        time.sleep(0.05)


async def _populate(world: World) -> None:
    """Create a tenant on PRO, known to every service, with one object of each kind."""
    await _store_candles(world.database.owner_dsn)
    async with open_client(world.gateway.url) as client:
        tenant = Tenant(client.url, client.http, canary="hostile")
        tenant.keep(await tenant.register(EMAIL))
        await grant(world.database.dsn("billing_app"), EMAIL, "PRO")
        await until_known(tenant, "PRO", patient(START_S))
        await tenant.fill(CROSS, CROSS)
        await tenant.make("/v1/backtests", tenant.bodies(CROSS)["POST /v1/backtests"])
    world.created = {path: tenant.first_id(kind) for path, kind in KINDS.items() if kind in tenant.ids}


async def _register(world: World, email: str) -> str:
    async with open_client(world.gateway.url) as client:
        client.keep(await client.register(email))
        await until_known(client, "PREMIUM", patient(START_S))
        return client.token


async def _store_candles(dsn: str) -> None:
    """Store a few candles, so that a backtest can be requested."""
    connection = await asyncpg.connect(dsn, server_settings={"search_path": "trading"})
    try:
        await connection.execute(CANDLES)
    finally:
        await connection.close()
