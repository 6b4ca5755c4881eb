"""Broken connections over real sockets: clients that disconnect in the middle, and a server that ends every
connection.

No tenant sees another's data, no read is refused, and the pool is intact afterwards.
"""

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import asyncpg
import pytest

from services.analytics.app import build
from services.analytics.settings import AnalyticsSettings
from shared.chassis.identity import claim_users
from shared.chassis.postgres import LOST_CONNECTION, Database
from shared.chassis.service import RunningService
from shared.contracts.types import new_id
from shared.testing.tokens import serve_tokens
from stack.migrate import DatabaseAccess
from tests.integration.chassis.conftest import user_registered
from tests.isolation.pools import assert_clean, assert_within_budget
from tests.pace import patient

ServiceEnv = Callable[[str], dict[str, str]]
PATH = "/v1/watchlist"
TENANTS = range(1, 7)
REQUESTS = 1_500
CLIENTS = 16
READERS = 50
ROUNDS = 6
SEED = 20_260_132


@dataclass
class Served:
    """Analytics over HTTP, and a token per tenant. Each tenant watches one symbol of their own."""

    running: RunningService
    tokens: dict[int, str]
    superuser: asyncpg.Connection

    @property
    def database(self) -> Database:
        return self.running.database

    async def end_all_connections(self) -> int:
        """End the service's connections with `pg_terminate_backend`, and return how many there were."""
        ended = await self.superuser.fetch(
            """
            SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE usename LIKE 'analytics\\_%' AND datname = current_database()
            """
        )
        return len(ended)


def symbol_of(user_id: int) -> str:
    return f"SYMBOL{user_id}"


@pytest.fixture
async def served(service_env: ServiceEnv, postgres: str, database_access: DatabaseAccess) -> AsyncIterator[Served]:
    superuser = await asyncpg.connect(postgres, database=database_access.name)
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    async with serve_tokens() as issuer:
        settings = AnalyticsSettings.model_validate({**values, "jwks_url": issuer.jwks_url})
        async with RunningService(build, settings, {"http"}) as running:
            people = [user_registered(user_id) for user_id in TENANTS]
            async with running.database.tenants(TENANTS) as connection:
                await claim_users(connection, people)
            for user_id in TENANTS:
                async with running.database.tenant(user_id) as connection:
                    await connection.execute(
                        "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) "
                        "VALUES ($1, $2, $3, '15', 5)",
                        user_id,
                        new_id(),
                        symbol_of(user_id),
                    )
            tokens = {person.user_id: issuer.make_token(person.public_id) for person in people}
            yield Served(running, tokens, superuser)
    await superuser.close()


async def test_disconnected_clients_leave_nothing_behind(served: Served) -> None:
    draw = random.Random(SEED)
    left = iter(range(REQUESTS))
    outcomes: Counter[str] = Counter()

    async def client() -> None:
        for number in left:
            user_id = TENANTS[number % len(TENANTS)]
            outcomes[await _call(served, user_id, draw.choice(("stay", "stay", "reset", "half", "part")))] += 1

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    assert min(outcomes[way] for way in ("stay", "reset", "half", "part")) > REQUESTS / 10, outcomes
    await assert_clean(served.database)
    await assert_within_budget(served.superuser, served.database, "analytics")


async def _call(served: Served, user_id: int, way: str) -> str:
    """Send one request on a connection of its own: `reset` at once, after `half` of it, or after `part` of the
    answer."""
    at = urlsplit(served.running.url)
    reader, writer = await asyncio.open_connection(at.hostname, at.port)
    request = f"GET {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {served.tokens[user_id]}\r\n"
    writer.write(f"{request}Connection: close\r\n\r\n".encode() if way != "half" else request.encode())
    await writer.drain()
    if way in ("reset", "half"):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        return way
    answer = await (reader.readexactly(12) if way == "part" else reader.read())
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.1 200"), answer
    if way == "stay":
        _assert_own(json.loads(answer.partition(b"\r\n\r\n")[2]), user_id)
    return way


def _assert_own(body: dict[str, list[dict[str, str]]], user_id: int) -> None:
    assert [item["symbol"] for item in body["items"]] == [symbol_of(user_id)]


async def test_reads_succeed_although_every_connection_was_ended(served: Served) -> None:
    """Over HTTP the service retries a read once and answers; it is never a 5xx."""
    ended, answered = asyncio.Event(), Counter[int]()

    async def reader(number: int) -> None:
        user_id = TENANTS[number % len(TENANTS)]
        headers = {"Authorization": f"Bearer {served.tokens[user_id]}"}
        while not ended.is_set():
            async with session.get(served.running.url + PATH, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
                _assert_own(await answer.json(), user_id)
                answered[user_id] += 1

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async with asyncio.TaskGroup() as group:
            for number in range(READERS):
                group.create_task(reader(number))
            for round_ in range(ROUNDS):
                await _until(answered.total, (round_ + 1) * READERS * 2)
                assert await served.end_all_connections() > 0
            await _until(answered.total, (ROUNDS + 1) * READERS * 2)
            ended.set()
    assert set(answered) == set(TENANTS)
    await assert_clean(served.database)
    await assert_within_budget(served.superuser, served.database, "analytics")


async def test_one_retry_is_enough_when_every_connection_was_ended(served: Served) -> None:
    """For callers without the HTTP layer."""
    ended, retries, done = asyncio.Event(), 0, 0

    async def read(user_id: int) -> None:
        async with served.database.tenant(user_id) as connection:
            seen = await connection.fetch("SELECT symbol FROM watchlist")
        assert [row["symbol"] for row in seen] == [symbol_of(user_id)]

    async def reader(number: int) -> None:
        nonlocal retries, done
        user_id = TENANTS[number % len(TENANTS)]
        while not ended.is_set():
            try:
                await read(user_id)
            except LOST_CONNECTION:
                retries += 1
                await read(user_id)
            done += 1

    async with asyncio.TaskGroup() as group:
        for number in range(READERS):
            group.create_task(reader(number))
        for round_ in range(ROUNDS):
            await _until(lambda: done, (round_ + 1) * READERS * 2)
            assert await served.end_all_connections() > 0
        await _until(lambda: done, (ROUNDS + 1) * READERS * 2)
        ended.set()
    assert retries < done / 5
    await assert_clean(served.database)


async def test_after_one_cut_connection_no_older_one_is_used(served: Served) -> None:
    database = served.database
    async with database.tenant(TENANTS[0]) as one, database.tenant(TENANTS[1]) as other:
        before = {one.get_server_pid(), other.get_server_pid()}

    async def read_cut() -> None:
        async with database.tenant(TENANTS[0]) as connection:
            await served.superuser.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
            await connection.fetchval("SELECT 1")

    with pytest.raises(LOST_CONNECTION):
        await read_cut()
    async with database.tenant(TENANTS[0]) as connection:
        assert connection.get_server_pid() not in before


async def _until(count: Callable[[], int], wanted: int) -> None:
    async with asyncio.timeout(patient(60)):
        while count() < wanted:
            await asyncio.sleep(0.002)
