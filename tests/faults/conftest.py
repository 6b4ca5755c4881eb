"""Processes that relay and consume on real servers, to be killed and frozen; effects are counted by SQL."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from pathlib import Path
from uuid import UUID

import aiohttp
import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

from benchmarks.trades import messages, trades
from cli.stack.migrate import ROOT, DatabaseAccess
from cli.stack.ports import Ports
from shared.chassis.kafka import partitions_of
from shared.chassis.outbox import emit
from shared.chassis.postgres import Database
from shared.chassis.producer import Producer
from shared.chassis.settings import ServiceSettings
from shared.contracts.trading import TradeClosed
from tests.faults.member import FAILING, TABLE
from tests.integration.accounts import eventually

ServiceEnv = Callable[[str], dict[str, str]]
TOPIC = TradeClosed.topic
READY_WITHIN_S = 30


class Member:
    """One process."""

    def __init__(self, name: str, role: str, environment: dict[str, str], folder: Path) -> None:
        ports = Ports()
        self.port = ports.take()
        self.name = name
        self._folder = folder
        self._log = (folder / f"{name}.log").open("ab")
        ports.release(self.port)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.member", "--only", role],
            env={**environment, "HTTP_PORT": str(self.port), "PROCESS_NAME": name},
            cwd=ROOT,
            stdout=self._log,
            stderr=self._log,
        )

    async def ready(self) -> "Member":
        await eventually(self._is_ready, bool, READY_WITHIN_S)
        return self

    async def _is_ready(self) -> bool:
        try:
            async with aiohttp.ClientSession() as session:
                async with session.get(f"http://127.0.0.1:{self.port}/readyz") as answer:
                    return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def metric(self, name: str) -> float:
        """The sum over its labels."""
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{self.port}/metrics") as answer:
                lines = (await answer.text()).splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def arm(self, line: str) -> None:
        """`<point> <KILL|STOP> <nth>`"""
        (self._folder / "arm").mkdir(exist_ok=True)
        (self._folder / "arm" / self.name).write_text(line)

    async def struck(self) -> None:
        """Wait until its armed point was reached."""
        await eventually(self._is_struck, bool)

    async def _is_struck(self) -> bool:
        return any(file.name.startswith(self.name) for file in (self._folder / "fired").iterdir())

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def end(self, number: signal.Signals = signal.SIGKILL, within_s: float = 15) -> int:
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        code = await asyncio.to_thread(self.process.wait, within_s)
        self._log.close()
        return code


class Scene:
    """A database and topics of the test's own, and the processes on them."""

    def __init__(self, access: DatabaseAccess, environment: dict[str, str], folder: Path) -> None:
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

    async def start(self, role: str, name: str = "") -> Member:
        environment = {
            **os.environ,
            **self.environment,
            "FAULT_POINTS": str(self.folder),
            FAILING: str(self.failing),
        }
        member = Member(name or f"{role}-{len(self.members)}", role, environment, self.folder)
        self.members.append(member)
        return await member.ready()

    async def say(self, events: Sequence[TradeClosed]) -> None:
        """Into the outbox, each in a transaction of its own."""
        database = await Database.connect(self.settings)
        for event in events:
            async with database.tenant(event.user_id) as connection:
                await emit(connection, event)
        await database.close()

    async def produce(self, events: Sequence[TradeClosed], times: int = 1) -> None:
        """Straight to the topic, the same messages so many times."""
        producer = Producer(self.bootstrap, self.prefix)
        ready = messages(list(events))
        for _ in range(times):
            await producer.send(ready)
        await producer.stop()

    async def sql(self, statement: str, *arguments: object) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.access.owner_dsn, server_settings={"search_path": "analytics"})
        try:
            rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return rows
        finally:
            await connection.close()

    async def number(self, statement: str) -> int:
        return int((await self.sql(statement))[0][0])

    async def heard(self) -> list[UUID]:
        return [row[0] for row in await self.sql("SELECT trade_id FROM heard ORDER BY id")]

    async def settled(self, events: Iterable[TradeClosed], within_s: float = 60) -> None:
        """Every event has its effect, once, and each tenant's in the order in which they were said."""
        wanted = list(events)
        await eventually(self.heard, lambda heard: set(heard) >= {event.trade_id for event in wanted}, within_s)
        assert len(await self.heard()) == len(wanted)
        for user_id in {event.user_id for event in wanted}:
            rows = await self.sql("SELECT aggregate_seq FROM heard WHERE user_id = $1 ORDER BY id", user_id)
            seqs = [row[0] for row in rows]
            assert seqs == sorted(seqs), f"user {user_id}"

    async def on_topic(self) -> list[ConsumerRecord]:
        """All that the topic holds."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False)
        await consumer.start()
        partitions: list[TopicPartition] = await partitions_of(self.bootstrap, [self.topic])
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        records: list[ConsumerRecord] = []
        await consumer.seek_to_beginning(*partitions)
        while any([await consumer.position(partition) < ends[partition] for partition in partitions]):
            for batch in (await consumer.getmany(timeout_ms=500)).values():
                records += batch
        await consumer.stop()
        return records


@pytest.fixture
async def scene(database_access: DatabaseAccess, service_env: ServiceEnv, tmp_path: Path) -> AsyncIterator[Scene]:
    scene = Scene(database_access, service_env("analytics"), tmp_path)
    connection = await asyncpg.connect(database_access.owner_dsn)
    await connection.execute(TABLE)
    await connection.close()
    yield scene
    for member in scene.members:
        await member.end()


def some_trades(count: int = 200, users: int = 5, after: int = 0) -> list[TradeClosed]:
    """Of each user in rising numbers; `after` so many that came before."""
    return trades(after + count, users)[after:]
