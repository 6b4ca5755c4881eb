"""Migrations while the service runs: no request fails, no event is lost, no job ends."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence

import aiohttp
import asyncpg
import pytest

from shared.chassis.events.handlers import EventHandler
from shared.chassis.http.app import Call, Endpoint
from shared.chassis.jobs import Job
from shared.chassis.postgres import Connection, Database
from shared.chassis.service import RunningService
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.contracts.auth import UserRegistered
from stack.migrate import DatabaseAccess
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import publish, user_registered

PROBE = """
    CREATE TYPE analytics.colour AS ENUM ('red', 'blue');
    CREATE TYPE analytics.pair AS (a int, b text);
    CREATE TABLE analytics.probe (id bigserial, n int, colour analytics.colour, pair analytics.pair);
    INSERT INTO analytics.probe (n, colour, pair) VALUES (1, 'red', ROW (1, 'x'));
    GRANT ALL ON analytics.probe TO PUBLIC;
    GRANT ALL ON SEQUENCE analytics.probe_id_seq TO PUBLIC;
"""
CHANGES = (
    "ALTER TABLE analytics.probe ADD COLUMN added text",
    "ALTER TABLE analytics.probe ALTER n TYPE bigint",
    "ALTER TYPE analytics.pair ADD ATTRIBUTE c int",
    "ALTER TABLE analytics.outbox ADD COLUMN IF NOT EXISTS added text",
    "ALTER TABLE analytics.inbox ADD COLUMN IF NOT EXISTS added text",
    """
    ALTER TABLE analytics.probe ALTER colour TYPE text;
    DROP TYPE analytics.colour;
    CREATE TYPE analytics.colour AS ENUM ('red', 'blue', 'green');
    ALTER TABLE analytics.probe ALTER colour TYPE analytics.colour USING colour::analytics.colour
    """,
    "ALTER TABLE analytics.probe ALTER n TYPE int; ALTER TABLE analytics.probe DROP COLUMN added",
    "ALTER TYPE analytics.pair DROP ATTRIBUTE c",
)
ROUNDS = 3


async def read(connection: Connection) -> None:
    await connection.fetch("SELECT * FROM probe LIMIT 5")
    await connection.fetch("SELECT id FROM probe WHERE colour = $1 LIMIT 5", "red")


async def write(connection: Connection) -> None:
    await connection.fetchrow("INSERT INTO probe (n, colour) VALUES ($1, $2) RETURNING *", 7, "blue")


class BusyService:
    """A service whose requests, events and job all use the table that is migrated meanwhile."""

    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.rounds = 0

    def build(self, context: Context) -> Service:
        self.database = context.database
        return Service(
            "analytics",
            [
                Endpoint("GET", "/v1/probe", self.get, "Read", public=True),
                Endpoint("POST", "/v1/probe", self.post, "Write", public=True),
            ],
            [EventHandler(UserRegistered, self.on_registered)],
            jobs=[Job("probe", self.work)],
        )

    async def get(self, _: Call) -> None:
        async with self.database.tenant(1) as connection:
            await read(connection)

    async def post(self, _: Call) -> None:
        async with self.database.tenant(1) as connection:
            await write(connection)

    async def on_registered(self, connection: Connection, events: Sequence[UserRegistered]) -> None:
        await write(connection)
        self.seen |= {event.user_id for event in events}

    async def work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            async with self.database.tenant(1) as connection:
                await read(connection)
            self.rounds += 1
            await asyncio.sleep(0.005)


@pytest.fixture
async def owner(database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_access.owner_dsn)
    await connection.execute(PROBE)
    yield connection
    await connection.close()


async def send_requests(url: str, method: str, stop: asyncio.Event) -> Counter[int]:
    statuses: Counter[int] = Counter()
    async with aiohttp.ClientSession(url) as session:
        while not stop.is_set():
            async with session.request(method, "/v1/probe") as answer:
                statuses[answer.status] += 1
    return statuses


async def test_schema_changes_fail_no_request_event_or_job(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    service, stop = BusyService(), asyncio.Event()
    async with RunningService(service.build, settings) as running:
        requests = [asyncio.create_task(send_requests(running.url, method, stop)) for method in ("GET", "POST") * 2]
        await eventually(lambda: _value(service.rounds), bool)
        for number, change in enumerate(CHANGES * ROUNDS, start=1):
            await publish(running.database, user_registered(number))
            await owner.execute(change)
            await asyncio.sleep(0.05)
        rounds = service.rounds
        await eventually(lambda: _value(len(service.seen)), lambda seen: seen == len(CHANGES) * ROUNDS)
        await eventually(lambda: _value(service.rounds), lambda now: now > rounds)
        stop.set()
        statuses = sum(await asyncio.gather(*requests), Counter())
        assert set(statuses) == {204}, statuses
        assert not running.failed


async def _value(value: int) -> int:
    return value


async def test_a_statement_with_a_dropped_type_is_prepared_again(
    settings: ServiceSettings, owner: asyncpg.Connection
) -> None:
    """asyncpg would otherwise cache it, and fail with it for as long as its connection lives."""
    database = await Database.connect(settings)
    try:
        async with database.tenant(1) as connection:
            await read(connection)
        await owner.execute(CHANGES[5])
        with pytest.raises(asyncpg.InvalidCachedStatementError):
            async with database.tenant(1) as connection:
                await connection.fetch("SELECT id FROM probe WHERE colour = $1 LIMIT 5", "red")
        async with database.tenant(1) as connection:
            await read(connection)
    finally:
        await database.close()
