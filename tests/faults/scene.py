"""A database, topics, and processes on them that tests kill and freeze; effects are counted by SQL."""

import asyncio
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
from aiokafka import ConsumerRecord

from benchmarks.trades import messages, trades
from shared.chassis.events.outbox import emit
from shared.chassis.events.producer import Outgoing, Producer
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.trading import TradeClosed
from stack.migrate import DatabaseAccess
from stack.ports import Ports
from stack.topic_messages import read_messages
from stack.topics import open_admin_client
from tests.faults.member import FAILING
from tests.integration.accounts import eventually
from tests.pace import patient
from tests.processes import ServiceProcess

TOPIC = TradeClosed.topic
READY_WITHIN_S = 30
UNSENT = "SELECT count(*) FROM outbox WHERE sent_at IS NULL AND dead_reason IS NULL"


class Member:
    """One process of a service."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path) -> None:
        ports = Ports()
        self.port = ports.take()
        self.url = f"http://127.0.0.1:{self.port}"
        self.name = name
        self._folder = folder
        self.log = folder / f"{name}.log"
        ports.release(self.port)
        own = {"HTTP_PORT": str(self.port), "PROCESS_NAME": name}
        self.process = ServiceProcess(command, {**os.environ, **environment, **own}, self.log)

    async def ready(self, within_s: float = READY_WITHIN_S) -> "Member":
        await eventually(self.faults, lambda faults: faults == [], within_s)
        return self

    async def faults(self) -> list[str]:
        """Return the faults of its readiness."""
        assert self.process.poll() is None, f"{self.name} ended: {self.log.read_text()[-2000:]}"
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(5)) as session:
                async with session.get(f"{self.url}/readyz") as answer:
                    return [str(fault) for fault in (await answer.json())["faults"]]
        except (aiohttp.ClientError, TimeoutError) as error:
            return [repr(error)]

    async def metric(self, name: str) -> float:
        """Return the sum of the metric over its labels."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.url}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    async def logs(self, event: str, within_s: float = 20) -> None:
        """Wait until the process logs this event once more than so far."""
        count = self._count_logged(event)
        await eventually(
            lambda: asyncio.to_thread(self._count_logged, event), lambda times: times > count, within_s
        )

    def _count_logged(self, event: str) -> int:
        return self.log.read_text().count(f'"event": "{event}"')

    def arm(self, line: str) -> None:
        """Arm a fault point: `<point> <KILL|STOP> <nth>`."""
        (self._folder / "arm").mkdir(exist_ok=True)
        (self._folder / "arm" / self.name).write_text(line)

    async def wait_until_struck(self) -> None:
        """Wait until its armed point was reached."""
        await eventually(self._is_struck, bool)

    async def _is_struck(self) -> bool:
        return any(file.name.startswith(f"{self.name}-") for file in (self._folder / "fired").iterdir())

    async def wait_until_ended(self) -> int:
        """Wait until the process has ended by itself or at its armed point, and return its exit code."""
        await eventually(lambda: asyncio.to_thread(self.process.poll), lambda code: code is not None, 30)
        return self.process.returncode

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL, within_s: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        return await asyncio.to_thread(self.process.wait, patient(within_s))


class Scene:
    """A database and topics for one test, and the processes on them."""

    def __init__(self, access: DatabaseAccess, environment: Mapping[str, str], folder: Path) -> None:
        self.access = access
        self.environment = environment
        self.folder = folder
        self.bootstrap = environment["KAFKA_BOOTSTRAP"]
        self.prefix = environment["KAFKA_TOPIC_PREFIX"]
        self.topic = self.prefix + TOPIC
        self.failing = folder / "failing-user"
        self.members: list[Member] = []
        values = {name.lower(): value for name, value in environment.items()}
        self.settings = ServiceSettings.model_validate({**values, "service": "analytics"})

    def spawn(self, role: str, **environment: str) -> Member:
        """Start a process with these roles, without waiting until it is ready."""
        command = ["tests.faults.member", "--only", role]
        own = {"FAULT_POINTS": str(self.folder), FAILING: str(self.failing), **environment}
        name = f"{role.replace(',', '-')}-{len(self.members)}"
        member = Member(name, command, {**self.environment, **own}, self.folder)
        self.members.append(member)
        return member

    async def start(self, role: str, **environment: str) -> Member:
        return await self.spawn(role, **environment).ready()

    async def end(self) -> None:
        for member in self.members:
            await member.end()

    async def publish(self, events: Sequence[TradeClosed]) -> None:
        """Publish through the outbox, each event in a transaction of its own."""
        database = await Database.connect(self.settings)
        for event in events:
            async with database.tenant(event.user_id) as connection:
                await emit(connection, event)
        await database.close()

    async def produce(self, events: Sequence[TradeClosed], times: int = 1) -> None:
        """Send the messages directly to the topic, `times` times."""
        for _ in range(times):
            await self.send(messages(list(events)))

    async def send(self, ready: Sequence[Outgoing]) -> None:
        producer = Producer(self.bootstrap, self.prefix)
        await producer.send(ready)
        await producer.stop()

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.access.owner_dsn, server_settings={"search_path": "analytics"})
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows
        finally:
            await connection.close()

    async def number(self, statement: str, *arguments: object) -> int:
        return int((await self.sql(statement, *arguments))[0][0])

    async def list_effects(self) -> list[UUID]:
        return [row[0] for row in await self.sql("SELECT object_id FROM heard ORDER BY id")]

    async def assert_settled(self, events: Iterable[TradeClosed], within_s: float = 60) -> None:
        """Wait until every event has its effect, once, and each tenant's in the order of publication."""
        expected = list(events)
        await eventually(
            self.list_effects, lambda effects: set(effects) >= {event.trade_id for event in expected}, within_s
        )
        assert len(await self.list_effects()) == len(expected)
        for user_id in {event.user_id for event in expected}:
            rows = await self.sql("SELECT aggregate_seq FROM heard WHERE user_id = $1 ORDER BY id", user_id)
            seqs = [row[0] for row in rows]
            assert seqs == sorted(seqs), f"user {user_id}"

    async def read_topic(self, topic: str = "") -> list[ConsumerRecord]:
        """Read all messages of the topic."""
        return [record async for record in read_messages(self.bootstrap, [topic or self.topic])]

    async def committed(self, group: str = "analytics") -> int:
        """Return how many messages of the topic the group has committed."""
        async with open_admin_client(self.bootstrap) as admin:
            offsets = await admin.list_consumer_group_offsets(self.prefix + group)
        return sum(max(0, at.offset) for partition, at in offsets.items() if partition.topic == self.topic)


def some_trades(count: int = 200, users: int = 5, after: int = 0) -> list[TradeClosed]:
    """Return `count` trades, of each user with rising sequence numbers, after the first `after` ones."""
    return trades(after + count, users)[after:]
