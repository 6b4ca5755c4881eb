"""Starts and stops everything in order; usable as a library: `async with Stack(home, options) as stack:`."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiokafka.errors import KafkaError

from cli.failure import BadInput
from cli.target import given_kafka
from shared.chassis.events.broker_access import KafkaAccess
from stack import kafka
from stack.environment import (
    ALL_FROM_HERE,
    Addresses,
    gateway_environment,
    service_environment,
    settings_given,
)
from stack.grants import Grants, apply_grants, remove_grants
from stack.health import answers, waits_for_a_person
from stack.home import Home, ProcessNote, State, login_of, note_of
from stack.kafka import Front, KafkaServer
from stack.layout import Part, by_role, together
from stack.migrate import ROOT, SERVICES, DatabaseAccess, create_database, migrate
from stack.ports import Ports
from stack.postgres import PostgresServer, as_user, data_folder
from stack.process import Child, Spec, child_environment
from stack.tools import tool
from stack.topics import Done, apply_topics, delete_topics, topics_of
from stack.users import server_user

DATABASE = "tradefleet"
GATEWAY_PORT = 8080
READY_TIMEOUT_S = 180  # of one process, on a machine that is busy with others
READY_EVERY_S = 0.05
TOPICS_TIMEOUT_S = 60
FOREIGN_KAFKA_TIMEOUT_S = 7
CADDYFILE = ROOT / "deploy" / "gateway" / "Caddyfile"

Report = Callable[[str], None]


@dataclass(frozen=True)
class StackOptions:
    """`sandbox` are arguments of the exchange sandbox; `env` is given to the service of that name besides.

    `gateway_port`: 8080, or any other where that is taken, unless one is asked for; that one must be free.
    `split`: a process per role. `between` is called before any service starts and puts itself between the services
    and their servers, at the addresses it is given.
    """

    sandbox: Sequence[str] = ()
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gateway_port: int | None = None
    prepare_market: Callable[[str], Awaitable[None]] | None = None  # with the sandbox's address, before services
    topic_prefix: str = ""  # for a broker that others use too; its topics are removed in the end
    split: bool = False
    between: Callable[[Sequence[Front]], Awaitable[None]] | None = None


class Stack:
    """Postgres, Kafka, migrations, topics, sandbox, the services' processes, gateway."""

    def __init__(self, home: Path, options: StackOptions | None = None, report: Report = lambda _: None) -> None:
        self._home = Home(home)
        self._options = options or StackOptions()
        self._report = report
        self._parts = by_role() if self._options.split else together()
        self._children: dict[str, Child] = {}
        self._health: dict[str, str] = {}
        self._noted: dict[str, ProcessNote] = {}
        self._ports = Ports()
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
    def parts(self) -> Sequence[Part]:
        """The services' processes."""
        return self._parts

    @property
    def health(self) -> Mapping[str, str]:
        """Where each process is asked whether it can work."""
        return self._health

    @property
    def kafka(self) -> KafkaAccess:
        """The broker itself, whatever stands in front of it, as its operator."""
        return self._kafka

    @property
    def topic_prefix(self) -> str:
        return os.environ.get("KAFKA_TOPIC_PREFIX", self._options.topic_prefix)

    @property
    def database(self) -> DatabaseAccess:
        """The server itself, whatever stands in front of it."""
        return self._database

    @property
    def superuser_dsn(self) -> str:
        return self._postgres.dsn(DATABASE)

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
        self._gateway_port = self._take_gateway_port()
        self._secrets = self._home.secrets()
        await asyncio.to_thread(kafka.check)
        postgres, broker = self._servers(self._ports)
        self._at = self._addresses(self._ports)
        await _together(*(asyncio.to_thread(server.prepare) for server in (postgres, broker) if server))
        await _together(self._start_postgres(postgres), self._start_kafka(broker))
        if self._options.between is not None:
            self._ports.release(*(front.port for front in self._fronts.values()))
            await self._options.between(list(self._fronts.values()))
        await self._start_sandbox()
        await _together(*self._services())
        await self._start_gateway()
        self._watch = asyncio.create_task(self._keep_state())

    def _take_gateway_port(self) -> int:
        if self._options.gateway_port is not None:
            return self._ports.take_exactly(self._options.gateway_port)
        port = self._ports.take(GATEWAY_PORT)
        if port != GATEWAY_PORT:
            instead = f"http://127.0.0.1:{port}"
            self._report(f"PORT {GATEWAY_PORT} IS TAKEN by another program: the gateway is at {instead}")
        return port

    def _addresses(self, ports: Ports) -> Addresses:
        processes = {part.name: ports.take() for part in self._parts}
        front = self._fronts.get("kafka")
        return Addresses(
            gateway=self._gateway_port,
            processes=processes,
            services={part.service: processes[part.name] for part in self._parts if part.serves_http},
            trading_internal=ports.take(),
            billing_internal=ports.take(),
            sandbox=ports.take(),
            kafka=replace(self._kafka, bootstrap=f"127.0.0.1:{front.port}") if front else self._kafka,
        )

    def _servers(self, ports: Ports) -> tuple[PostgresServer, KafkaServer | None]:
        self._postgres = PostgresServer(data_folder(self.home), ports.take(), self._secrets.superuser)
        self._database = DatabaseAccess("127.0.0.1", self._postgres.port, DATABASE, self._secrets.roles)
        self._fronts: dict[str, Front] = {}
        if self._options.between is not None:
            self._fronts["postgres"] = Front("postgres", ports.take(), self._postgres.port)
        if (given := given_kafka()) is not None:
            self._kafka = given
            return self._postgres, None
        if self._options.between is not None:
            self._fronts["kafka"] = Front("kafka", ports.take(), ports.take())
        broker = KafkaServer(
            self.home / "kafka", ports.take(), ports.take(), self._fronts.get("kafka"), self._secrets.kafka_admin
        )
        self._kafka = broker.admin
        return self._postgres, broker

    async def _start_postgres(self, server: PostgresServer) -> None:
        spec = Spec("postgres", server.command(), stop_signal=signal.SIGINT, user=as_user(server_user()))
        await self._launch(spec, server.dsn(), server.port)
        await create_database(server.dsn(), self._database)
        self._health["postgres"] = self._database.owner_dsn
        await migrate(self._database)
        self._report("database migrated")

    async def _start_kafka(self, server: KafkaServer | None) -> None:
        if server is None:
            self._report(f"Kafka at {self._kafka} is used")
        else:
            spec = Spec("kafka", server.command())
            behind = [server.front.behind] if server.front else []
            await self._launch(spec, f"tcp://{server.bootstrap}", server.port, server.controller_port, *behind)
        done, grants = await self._make_topics(TOPICS_TIMEOUT_S if server else FOREIGN_KAFKA_TIMEOUT_S)
        for refused in [each for each in done if each.outcome == "refused"]:
            has, wanted = refused.difference.has, refused.difference.wanted
            what = f"{refused.difference.topic} has {has} {refused.difference.what}, not {wanted}"
            self._report(f"topic {what}: see `tradefleet topics plan`")
        self._report("topics and grants made" if grants.authorizer else "topics made")

    async def _make_topics(self, timeout_s: float) -> tuple[list[Done], Grants]:
        """With users and ACLs. A broker takes connections some time before it takes any of them."""
        topics = topics_of(prefix=self.topic_prefix)
        fault: KafkaError | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    try:
                        done = await apply_topics(self._kafka, topics, self.topic_prefix)
                        return done, await apply_grants(self._kafka, self.topic_prefix, self._secrets.kafka)
                    except KafkaError as error:
                        fault = error
                        await asyncio.sleep(READY_EVERY_S)
        except TimeoutError:
            why = f": {fault!r}" if fault else ""
            raise BadInput(f"Kafka at {self._kafka} does not make topics{why}") from None

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
        await self._launch(spec, f"{self.sandbox}/v5/market/time", self._at.sandbox)
        if self._options.prepare_market is not None:
            await self._options.prepare_market(self.sandbox)

    def _services(self) -> Iterator[Coroutine[None, None, None]]:
        for part in self._parts:
            internal = {"trading": self._at.trading_internal, "billing": self._at.billing_internal}
            inside = [internal[part.service]] if part.service in internal and part.serves_http else []
            port = self._at.processes[part.name]
            yield self._launch(self._service_spec(part), f"http://127.0.0.1:{port}/readyz", port, *inside)

    def _service_spec(self, part: Part) -> Spec:
        roles = ["--only", ",".join(part.roles)] if part.roles else []
        front = self._fronts.get("postgres")
        database = replace(self._database, port=front.port) if front else self._database
        environment = service_environment(part, self._home, self._secrets, database, self._at, self.topic_prefix)
        given = settings_given(part.service)
        environment |= {name: value for name, value in given.items() if name in ALL_FROM_HERE}
        environment = {**given, **environment, **self._options.env.get(part.service, {})}
        return Spec(part.name, [sys.executable, "-m", f"services.{part.service}", *roles], environment)

    async def _start_gateway(self) -> None:
        environment = gateway_environment(self._at, self.home)
        caddy = [str(tool("caddy"))]
        configured = ["--config", str(CADDYFILE), "--adapter", "caddyfile"]
        process = await asyncio.create_subprocess_exec(
            *caddy,
            "validate",
            *configured,
            env=child_environment(environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise BadInput(f"the gateway's configuration is wrong: {output.decode().strip().splitlines()[-1]}")
        spec = Spec("gateway", [*caddy, "run", *configured], environment)
        await self._launch(spec, f"{self.gateway}/healthz", self._at.gateway)

    async def _launch(self, spec: Spec, health: str, *ports: int) -> None:
        """Start on the ports kept for it and wait until it answers. Raises BadInput with the end of its log."""
        self._ports.release(*ports)
        child = Child(spec, self.logs / f"{spec.name}.log")
        self._children[spec.name] = child
        self._health[spec.name] = health
        await child.start()
        self._write_state()
        why = ""
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                while not await answers(health):
                    if why := await waits_for_a_person(health):
                        break
                    if child.restarts > 3:
                        raise BadInput(f"{spec.name} does not start: {child.log_tail(2)}")
                    await asyncio.sleep(READY_EVERY_S)
        except TimeoutError:
            raise BadInput(f"{spec.name} does not get ready: {child.log_tail(2)}") from None
        self._report(f"{spec.name} waits: {why}" if why else f"{spec.name} ready")

    def pid(self, name: str) -> int | None:
        """None while it is down."""
        return self._children[name].pid

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
        await self._remove_topics()
        self._ports.release()
        self._home.__exit__()

    async def _remove_topics(self) -> None:
        prefix = self._options.topic_prefix
        if "KAFKA_BOOTSTRAP" not in os.environ or not prefix or prefix != self.topic_prefix:
            return
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(FOREIGN_KAFKA_TIMEOUT_S):
                await delete_topics(self._kafka, [topic.name for topic in topics_of(prefix=prefix)])
                await remove_grants(self._kafka, prefix)

    async def _keep_state(self) -> None:
        """Restarted processes have other pids; one that is down stands there with its last."""
        while True:
            await asyncio.sleep(0.5)
            self._write_state()

    def _write_state(self) -> None:
        alive = [(name, child.pid) for name, child in self._children.items() if child.pid]
        notes = {name: note for name, pid in alive if (note := note_of(name, pid))}
        supervisor = note_of("tradefleet", os.getpid())
        if supervisor is None or {**self._noted, **notes} == self._noted:
            return
        self._noted |= notes
        self._home.write_state(
            State(
                supervisor=supervisor,
                gateway=self.gateway,
                services={service: self._at.url(service) for service in SERVICES},
                postgres=self._database.owner_dsn,
                billing=self._database.dsn("billing_app"),
                candles=self._database.dsn("trading_worker"),
                analytics=self._database.dsn("analytics_worker"),
                auth=self._database.dsn("auth_worker"),
                auth_app=self._database.dsn("auth_app"),
                trading=self._database.dsn("trading_app"),
                queues={service: self._database.dsn(f"{service}_queue") for service in SERVICES},
                kafka=self._kafka.bootstrap,
                kafka_login=login_of(self._kafka),
                topic_prefix=self.topic_prefix,
                sandbox=self.sandbox,
                health=dict(self._health),
                processes=list(self._noted.values()),
            )
        )


async def _together(*work: Coroutine[None, None, object]) -> None:
    """All at once; the first failure ends the others and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            for each in work:
                group.create_task(each)
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
