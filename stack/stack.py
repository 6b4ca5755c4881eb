"""Start and stop the whole platform in order. Library use: `async with Stack(home, options) as stack:`."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from aiokafka.errors import KafkaError

from shared.chassis.events.broker_access import KafkaAccess
from stack import kafka
from stack.environment import (
    SHARED_ADDRESS_LIMITS,
    Addresses,
    gateway_environment,
    service_environment,
    settings_from_environment,
)
from stack.external_kafka import kafka_from_environment
from stack.failure import BadInput, program_failed
from stack.grants import Grants, apply_grants, remove_grants
from stack.health import READY_EVERY_S, wait_until_healthy
from stack.home import Home, ProcessRecord, State, find_process_record, login_json
from stack.kafka import KafkaServer, ProxyRoute
from stack.layout import ServiceProcess, processes_per_role, processes_per_service
from stack.migrate import ROOT, SERVICES, DatabaseAccess, create_database, migrate
from stack.ports import Ports
from stack.postgres import PostgresServer, data_folder, popen_user
from stack.process import Child, Spec, child_environment
from stack.tools import find_tool
from stack.topics import TopicChange, apply_topics, delete_topics, topics_of
from stack.users import server_user

DATABASE = "tradefleet"
GATEWAY_PORT = 8080
TOPICS_TIMEOUT_S = 60
FOREIGN_KAFKA_TIMEOUT_S = 7
CADDYFILE = ROOT / "deploy" / "gateway" / "Caddyfile"

Report = Callable[[str], None]


@dataclass(frozen=True)
class StackOptions:
    """Options of a stack.

    `sandbox`: command-line arguments of the exchange sandbox.
    `env`: extra environment variables by service name.
    `gateway_port`: this port, which must be free. If None: 8080, or any free port if 8080 is taken.
    `split`: run one process per role.
    `start_proxies`: called before any service starts, to start proxies between the services and their servers at
    the given addresses.
    """

    sandbox: Sequence[str] = ()
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    gateway_port: int | None = None
    prepare_market: Callable[[str], Awaitable[None]] | None = None  # gets the sandbox's URL, before services start
    topic_prefix: str = ""  # for a shared broker; the topics with this prefix are deleted on stop
    split: bool = False
    start_proxies: Callable[[Sequence[ProxyRoute]], Awaitable[None]] | None = None


class Stack:
    """Postgres, Kafka, migrations, topics, the sandbox, the service processes and the gateway."""

    def __init__(self, home: Path, options: StackOptions | None = None, report: Report = lambda _: None) -> None:
        self._home = Home(home)
        self._options = options or StackOptions()
        self._report = report
        self._service_processes = processes_per_role() if self._options.split else processes_per_service()
        self._children: dict[str, Child] = {}
        self._health: dict[str, str] = {}
        self._recorded: dict[str, ProcessRecord] = {}
        self._written: list[tuple[str, int]] = []  # the pids of the last state
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
    def service_processes(self) -> Sequence[ServiceProcess]:
        return self._service_processes

    @property
    def health(self) -> Mapping[str, str]:
        """Health check address by process name; see `stack.health`."""
        return self._health

    @property
    def kafka(self) -> KafkaAccess:
        """Direct access to the broker as its operator, bypassing any proxy."""
        return self._kafka

    @property
    def topic_prefix(self) -> str:
        return os.environ.get("KAFKA_TOPIC_PREFIX", self._options.topic_prefix)

    @property
    def database(self) -> DatabaseAccess:
        """Direct access to the server, bypassing any proxy."""
        return self._database

    @property
    def superuser_dsn(self) -> str:
        return self._postgres.dsn(DATABASE)

    async def __aenter__(self) -> "Stack":
        self._home.__enter__()
        async with AsyncExitStack() as failed:
            failed.push_async_callback(self.stop)
            await self._start()
            failed.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _start(self) -> None:
        self._gateway_port = self._take_gateway_port()
        self._secrets = self._home.secrets()
        await asyncio.to_thread(kafka.check)
        postgres, broker = self._servers(self._ports)
        self._at = self._addresses(self._ports)
        reference = asyncio.to_thread(self._write_reference)
        await run_together(
            self._start_postgres(postgres), self._start_kafka(broker), self._start_sandbox(), reference
        )
        if self._options.start_proxies is not None:
            self._ports.release(*(route.port for route in self._proxies.values()))
            await self._options.start_proxies(list(self._proxies.values()))
        await run_together(*self._services(), self._start_gateway())
        self._watch = asyncio.create_task(self._keep_state())

    def _take_gateway_port(self) -> int:
        if self._options.gateway_port is not None:
            return self._ports.take_exactly(self._options.gateway_port)
        port = self._ports.take(GATEWAY_PORT)
        if port != GATEWAY_PORT:
            url = f"http://127.0.0.1:{port}"
            self._report(f"PORT {GATEWAY_PORT} IS TAKEN by another program: the gateway listens on {url}")
        return port

    def _addresses(self, ports: Ports) -> Addresses:
        processes = {process.name: ports.take() for process in self._service_processes}
        proxy = self._proxies.get("kafka")
        return Addresses(
            gateway=self._gateway_port,
            processes=processes,
            services={
                process.service: processes[process.name]
                for process in self._service_processes
                if process.serves_http
            },
            trading_internal=ports.take(),
            sandbox=ports.take(),
            kafka=replace(self._kafka, bootstrap=f"127.0.0.1:{proxy.port}") if proxy else self._kafka,
        )

    def _servers(self, ports: Ports) -> tuple[PostgresServer, KafkaServer | None]:
        self._postgres = PostgresServer(data_folder(self.home), ports.take(), self._secrets.superuser)
        self._database = DatabaseAccess("127.0.0.1", self._postgres.port, DATABASE, self._secrets.roles)
        self._proxies: dict[str, ProxyRoute] = {}
        if self._options.start_proxies is not None:
            self._proxies["postgres"] = ProxyRoute("postgres", ports.take(), self._postgres.port)
        if (given := kafka_from_environment()) is not None:
            self._kafka = given
            return self._postgres, None
        if self._options.start_proxies is not None:
            self._proxies["kafka"] = ProxyRoute("kafka", ports.take(), ports.take())
        broker = KafkaServer(
            self.home / "kafka", ports.take(), ports.take(), self._proxies.get("kafka"), self._secrets.kafka_admin
        )
        self._kafka = broker.admin
        return self._postgres, broker

    async def _start_postgres(self, server: PostgresServer) -> None:
        await asyncio.to_thread(server.prepare)
        spec = Spec("postgres", server.command(), stop_signal=signal.SIGINT, user=popen_user(server_user()))
        await self._launch(spec, server.dsn(), server.port)
        await create_database(server.dsn(), self._database)
        self._health["postgres"] = self._database.owner_dsn
        await migrate(self._database)
        self._report("database migrated")

    async def _start_kafka(self, server: KafkaServer | None) -> None:
        if server is None:
            self._report(f"using Kafka at {self._kafka}")
        else:
            await asyncio.to_thread(server.prepare)
            spec = Spec("kafka", server.command())
            upstream = [server.proxy.upstream_port] if server.proxy else []
            await self._launch(spec, f"tcp://{server.bootstrap}", server.port, server.controller_port, *upstream)
        done, grants = await self._apply_topics(TOPICS_TIMEOUT_S if server else FOREIGN_KAFKA_TIMEOUT_S)
        for refused in [each for each in done if each.outcome == "refused"]:
            has, wanted = refused.difference.has, refused.difference.wanted
            what = f"{refused.difference.topic} has {has} {refused.difference.what}, expected {wanted}"
            self._report(f"topic {what}: see `tradefleet topics plan`")
        self._report("topics and grants applied" if grants.authorizer else "topics applied")

    async def _apply_topics(self, timeout_s: float) -> tuple[list[TopicChange], Grants]:
        """Apply topics, users and ACLs. Retries, as a broker accepts connections before it can create any of them.

        Raises BadInput after `timeout_s`.
        """
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
            raise BadInput(f"cannot create topics on Kafka at {self._kafka}{why}") from None

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
        for process in self._service_processes:
            has_internal = process.service == "trading" and process.serves_http
            internal_ports = [self._at.trading_internal] if has_internal else []
            port = self._at.processes[process.name]
            spec = self._service_spec(process)
            yield self._launch(spec, f"http://127.0.0.1:{port}/readyz", port, *internal_ports)

    def _service_spec(self, process: ServiceProcess) -> Spec:
        roles = ["--only", ",".join(process.roles)] if process.roles else []
        proxy = self._proxies.get("postgres")
        database = replace(self._database, port=proxy.port) if proxy else self._database
        environment = service_environment(process, self._home, self._secrets, database, self._at, self.topic_prefix)
        given = settings_from_environment(process.service)
        environment |= {name: value for name, value in given.items() if name in SHARED_ADDRESS_LIMITS}
        environment = {**given, **environment, **self._options.env.get(process.service, {})}
        return Spec(process.name, [sys.executable, "-m", f"services.{process.service}", *roles], environment)

    def _write_reference(self) -> None:
        # Imported here because it takes a second: it imports every endpoint, which `status` and `down` do not need.
        from stack.reference.files import write_reference

        write_reference(self.home / "gateway")

    async def _start_gateway(self) -> None:
        environment = gateway_environment(self._at, self.home)
        caddy = [str(find_tool("caddy"))]
        config = ["--config", str(CADDYFILE), "--adapter", "caddyfile"]
        process = await asyncio.create_subprocess_exec(
            *caddy,
            "validate",
            *config,
            env=child_environment(environment),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise program_failed("the gateway's configuration is invalid", process.returncode, output.decode())
        spec = Spec("gateway", [*caddy, "run", *config], environment)
        await self._launch(spec, f"{self.gateway}/healthz", self._at.gateway)

    async def _launch(self, spec: Spec, health: str, *ports: int) -> None:
        """Start a process on its reserved ports and wait until it is healthy. Raises BadInput with the log tail."""
        self._ports.release(*ports)
        child = Child(spec, self.logs / f"{spec.name}.log")
        self._children[spec.name] = child
        self._health[spec.name] = health
        await child.start()
        self._write_state()
        action = await wait_until_healthy(child, health)
        self._report(f"{spec.name} is waiting: {action}" if action else f"{spec.name} ready")

    def pid(self, name: str) -> int | None:
        """Return the process id; None while the process is down."""
        return self._children[name].pid

    async def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Kill a process, to simulate a fault; the supervisor restarts it."""
        self._children[name].kill(number)

    async def stop_process(self, name: str) -> None:
        """Stop one process gracefully and leave it stopped."""
        await self._children[name].stop()

    async def start_process(self, name: str) -> None:
        """Start a stopped process and wait until it is healthy."""
        await self._launch(self._children[name].spec, self._health[name])

    async def stop(self) -> None:
        """Stop everything in reverse order: the gateway first, the database and the broker last."""
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
        """Write the state whenever a pid changes; a process that is down keeps its last pid there."""
        while True:
            await asyncio.sleep(0.5)
            self._write_state()

    def _write_state(self) -> None:
        alive = [(name, child.pid) for name, child in self._children.items() if child.pid]
        if alive == self._written:
            return
        records = {name: record for name, pid in alive if (record := find_process_record(name, pid))}
        supervisor = find_process_record("tradefleet", os.getpid())
        if supervisor is None or {**self._recorded, **records} == self._recorded:
            return
        self._recorded |= records
        self._written = alive
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
                exchange_keys=str(self._home.exchange_keys),
                queues={service: self._database.dsn(f"{service}_queue") for service in SERVICES},
                kafka=self._kafka.bootstrap,
                kafka_login=login_json(self._kafka),
                topic_prefix=self.topic_prefix,
                sandbox=self.sandbox,
                health=dict(self._health),
                processes=list(self._recorded.values()),
            )
        )


async def run_together(*work: Coroutine[None, None, object]) -> None:
    """Run all concurrently; the first failure cancels the others and is raised.

    If we are cancelled meanwhile, that is raised instead: Ctrl-C ends the programs that we run as well, which looks
    like a failure of theirs.
    """
    tasks = [asyncio.create_task(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        failures = [failure for task in done if (failure := task.exception())]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    if failures:
        raise failures[0]
