"""Starts and stops everything in order; usable as a library: `async with Stack(home, options) as stack:`."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cli.failure import BadInput
from cli.stack.environment import Addresses, gateway_environment, service_environment
from cli.stack.health import answers
from cli.stack.home import Home, ProcessNote, State, note_of
from cli.stack.kafka import KafkaServer
from cli.stack.migrate import ROOT, SERVICES, DatabaseAccess, create_database, migrate
from cli.stack.ports import Ports
from cli.stack.postgres import PostgresServer, as_user, data_folder
from cli.stack.process import Child, Spec
from cli.stack.tools import tool
from cli.stack.topics import create_topics, topics_of
from cli.stack.users import server_user

DATABASE = "tradefleet"
GATEWAY_PORT = 8080
READY_TIMEOUT_S = 90
READY_EVERY_S = 0.05
TRADING_ROLES = "http,consumers,relay,jobs,worker"
CADDYFILE = ROOT / "deploy" / "gateway" / "Caddyfile"

Report = Callable[[str], None]


@dataclass(frozen=True)
class StackOptions:
    """`sandbox` are arguments of the exchange sandbox; `env` is given to the service of that name besides."""

    sandbox: Sequence[str] = ()
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gateway_port: int = GATEWAY_PORT


class Stack:
    """Postgres, Kafka, migrations, topics, sandbox, five services and the feed, gateway."""

    def __init__(self, home: Path, options: StackOptions | None = None, report: Report = lambda _: None) -> None:
        self._home = Home(home)
        self._options = options or StackOptions()
        self._report = report
        self._children: dict[str, Child] = {}
        self._health: dict[str, str] = {}
        self._noted: list[ProcessNote] = []
        self._watch: asyncio.Task[None] | None = None

    @property
    def home(self) -> Path:
        return self._home.path

    @property
    def logs(self) -> Path:
        return self._home.logs

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self._at.gateway}"

    @property
    def sandbox(self) -> str:
        return f"http://127.0.0.1:{self._at.sandbox}"

    @property
    def kafka_bootstrap(self) -> str:
        return self._at.kafka

    @property
    def database(self) -> DatabaseAccess:
        return self._database

    async def __aenter__(self) -> "Stack":
        self._home.__enter__()
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self._secrets = self._home.secrets()
        ports = Ports()
        self._at = self._addresses(ports)
        postgres, kafka = self._servers(ports)
        await asyncio.gather(*(asyncio.to_thread(server.prepare) for server in (postgres, kafka) if server))
        ports.release()
        await asyncio.gather(self._start_postgres(postgres), self._start_kafka(kafka))
        await asyncio.gather(self._start_sandbox(), self._start_services())
        await self._start_gateway()
        self._watch = asyncio.create_task(self._keep_state())

    def _addresses(self, ports: Ports) -> Addresses:
        given = os.environ.get("KAFKA_BOOTSTRAP", "")
        return Addresses(
            gateway=ports.take(self._options.gateway_port),
            services={service: ports.take() for service in SERVICES},
            feed=ports.take(),
            trading_internal=ports.take(),
            sandbox=ports.take(),
            kafka=given or f"127.0.0.1:{ports.take()}",
        )

    def _servers(self, ports: Ports) -> tuple[PostgresServer, KafkaServer | None]:
        postgres = PostgresServer(data_folder(self.home), ports.take(), self._secrets.superuser)
        self._database = DatabaseAccess("127.0.0.1", postgres.port, DATABASE, self._secrets.roles)
        if os.environ.get("KAFKA_BOOTSTRAP"):
            return postgres, None
        port = int(self._at.kafka.rpartition(":")[2])
        return postgres, KafkaServer(self.home / "kafka", port, ports.take())

    async def _start_postgres(self, server: PostgresServer) -> None:
        spec = Spec("postgres", server.command(), stop_signal=signal.SIGINT, user=as_user(server_user()))
        await self._launch(spec, f"tcp://127.0.0.1:{server.port}")
        await create_database(server.dsn(), self._database)
        await migrate(self._database)
        self._report("database migrated")

    async def _start_kafka(self, server: KafkaServer | None) -> None:
        if server is None:
            self._report(f"Kafka at {self._at.kafka} is used")
        else:
            await self._launch(Spec("kafka", server.command()), f"tcp://{server.bootstrap}")
        await create_topics(self._at.kafka, topics_of(prefix=self._topic_prefix))
        self._report("topics made")

    @property
    def _topic_prefix(self) -> str:
        return os.environ.get("KAFKA_TOPIC_PREFIX", "")

    async def _start_sandbox(self) -> None:
        command = [
            sys.executable,
            "-m",
            "sandbox.bybit",
            "--port",
            str(self._at.sandbox),
            *self._options.sandbox,
        ]
        spec = Spec("sandbox-bybit", command, {"PYTHONPATH": str(ROOT)})
        await self._launch(spec, f"{self.sandbox}/v5/market/time")

    async def _start_services(self) -> None:
        await asyncio.gather(
            *(self._launch(self._service_spec(name), f"{self._at.url(name)}/readyz") for name in SERVICES),
            self._launch(self._feed_spec(), f"http://127.0.0.1:{self._at.feed}/readyz"),
        )

    def _service_spec(self, name: str) -> Spec:
        roles = ["--only", TRADING_ROLES] if name == "trading" else []
        return Spec(name, [sys.executable, "-m", f"services.{name}", *roles], self._environment(name))

    def _feed_spec(self) -> Spec:
        environment = {**self._environment("trading"), "HTTP_PORT": str(self._at.feed)}
        environment.pop("INTERNAL_HTTP_PORT")
        return Spec("feed", [sys.executable, "-m", "services.trading", "--only", "feed"], environment)

    def _environment(self, service: str) -> dict[str, str]:
        environment = service_environment(
            service, self._home, self._secrets, self._database, self._at, self._topic_prefix
        )
        return {**environment, **self._options.env.get(service, {})}

    async def _start_gateway(self) -> None:
        environment = gateway_environment(self._at, self.home)
        caddy = [str(tool("caddy"))]
        configured = ["--config", str(CADDYFILE), "--adapter", "caddyfile"]
        process = await asyncio.create_subprocess_exec(
            *caddy,
            "validate",
            *configured,
            env={**os.environ, **environment},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise BadInput(f"the gateway's configuration is wrong: {output.decode().strip().splitlines()[-1]}")
        await self._launch(Spec("gateway", [*caddy, "run", *configured], environment), f"{self.gateway}/healthz")

    async def _launch(self, spec: Spec, health: str) -> None:
        """Start and wait until it answers. Raises BadInput with the end of its log."""
        child = Child(spec, self.logs / f"{spec.name}.log")
        self._children[spec.name] = child
        self._health[spec.name] = health
        await child.start()
        self._write_state()
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await answers(health):
                    if child.restarts > 3:
                        raise BadInput(f"{spec.name} does not start: {child.log_tail(2)}")
                    await asyncio.sleep(READY_EVERY_S)
        except TimeoutError:
            raise BadInput(f"{spec.name} does not get ready: {child.log_tail(2)}") from None
        self._report(f"{spec.name} ready")

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """As a fault would; it is restarted by the supervision."""
        self._children[name].kill(number)

    async def stop_process(self, name: str) -> None:
        """Stop one process in order and leave it stopped."""
        await self._children[name].stop()

    async def start_process(self, name: str) -> None:
        """Start one that was stopped, and wait until it answers."""
        await self._launch(self._children[name].spec, self._health[name])

    async def stop(self) -> None:
        """All in reverse order: first who takes requests, last the servers."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        gateway = [child for name, child in self._children.items() if name == "gateway"]
        servers = [self._children[name] for name in ("kafka", "postgres") if name in self._children]
        middle = [child for child in self._children.values() if child not in gateway + servers]
        for group in (gateway, middle, servers):
            await asyncio.gather(*(child.stop() for child in group))
        self._home.__exit__()

    async def _keep_state(self) -> None:
        """Restarted processes have other pids."""
        while True:
            await asyncio.sleep(0.5)
            self._write_state()

    def _write_state(self) -> None:
        pids = {name: child.pid for name, child in self._children.items()}
        notes = [note_of(name, pid) for name, pid in pids.items() if pid]
        if notes == self._noted:
            return
        self._noted = notes
        self._home.write_state(
            State(
                supervisor=note_of("tradefleet", os.getpid()),
                gateway=self.gateway,
                services={service: self._at.url(service) for service in SERVICES},
                postgres=self._database.owner_dsn,
                billing=self._database.dsn("billing_app"),
                kafka=self._at.kafka,
                sandbox=self.sandbox,
                health=dict(self._health),
                processes=notes,
            )
        )
