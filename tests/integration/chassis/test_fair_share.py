"""A flood of one tenant's requests leaves the other tenants their connections."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from shared.chassis.auth import SCOPES, Authenticator, Principal, TokenVerifier
from shared.chassis.errors import Unauthorized
from shared.chassis.fair_share import FairShare
from shared.chassis.http.app import Call, Endpoint, make_app
from shared.chassis.identity import UserDirectory
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id

FLOODING, OTHER = 1, 2
HELD_S = 0.05
FLOOD = 90


class Named(Authenticator):
    """An authenticator whose tokens are the tenants' numbers."""

    async def principal(self, authorization: str | None) -> Principal:
        if authorization is None:
            raise Unauthorized
        return Principal(int(authorization), new_id(), SCOPES, None)


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    database = await Database.connect(settings)
    yield database
    await database.close()


@pytest.fixture
async def client(settings: ServiceSettings, database: Database) -> AsyncIterator[aiohttp.ClientSession]:
    async def hold(call: Call) -> None:
        """Run two transactions, the second with a nested one."""
        async with database.tenant(call.principal.user_id) as connection:
            await connection.execute("SELECT pg_sleep($1)", HELD_S)
        async with database.tenant(call.principal.user_id), database.untenanted() as connection:
            await connection.execute("SELECT 1")

    endpoints = [Endpoint("GET", "/v1/held", hold, "Hold a connection", scope="read")]
    authenticator = Named(TokenVerifier(settings), UserDirectory(database))
    app = make_app(endpoints, authenticator, body_limit_bytes=1_000, database=database)
    connector = aiohttp.TCPConnector(limit=0)
    async with TestServer(app) as server:
        async with aiohttp.ClientSession(server.make_url("/"), connector=connector) as session:
            yield session


async def ask(client: aiohttp.ClientSession, user_id: int) -> tuple[int, float]:
    """Return the status and the seconds the request took."""
    began = time.monotonic()
    async with client.get("/v1/held", headers={"Authorization": str(user_id)}) as answer:
        await answer.read()
        if answer.status == 429:
            assert answer.headers["Retry-After"] == "1"
            assert (await answer.json(content_type=None))["type"] == "/problems/too-many-at-once"
    return answer.status, time.monotonic() - began


async def test_another_tenants_request_does_not_wait_behind_a_flood(client: aiohttp.ClientSession) -> None:
    flood = [asyncio.create_task(ask(client, FLOODING)) for _ in range(FLOOD)]
    await asyncio.sleep(4 * HELD_S)
    others = [await ask(client, OTHER) for _ in range(3)]
    answered = [task.result()[0] for task in flood if task.done()]
    assert len(answered) < FLOOD, "the flood was over before the others asked"
    assert [status for status, _ in others] == [204] * 3
    assert {status for status, _ in await asyncio.gather(*flood)} == {204}
    longest = max(seconds for _, seconds in await asyncio.gather(*flood))
    assert max(seconds for _, seconds in others) < longest / 3


async def test_requests_beyond_the_limit_are_refused_at_once(client: aiohttp.ClientSession) -> None:
    answers = Counter(status for status, _ in await asyncio.gather(*(ask(client, FLOODING) for _ in range(130))))
    assert (answers[204], answers[429]) == (100, 30)
    assert (await ask(client, FLOODING))[0] == 204


async def test_a_tenant_holds_a_third_of_the_connections_and_leaves_no_state() -> None:
    share, held, most = FairShare(6), 0, 0

    async def one() -> None:
        nonlocal held, most
        with share.request(FLOODING):
            async with share.turn(5), share.turn(5):
                held, most = held + 1, max(most, held + 1)
                await asyncio.sleep(0.001)
                held -= 1

    await asyncio.gather(*(one() for _ in range(50)))
    assert (held, most) == (0, 2)
    assert (share._turns, share._requests) == ({}, Counter())


async def test_work_outside_requests_does_not_wait() -> None:
    """Jobs and consumers take as many connections as the pool has."""
    share = FairShare(1)
    async with share.turn(0.01), share.turn(0.01), share.turn(0.01):
        pass


@pytest.mark.parametrize("cancel", [lambda task: task.cancel(), lambda _: None])
async def test_a_cancelled_or_timed_out_wait_frees_its_place(
    cancel: Callable[[asyncio.Task[None]], object],
) -> None:
    share, release = FairShare(1), asyncio.Event()

    async def hold(wait_s: float) -> None:
        with share.request(FLOODING):
            async with share.turn(wait_s):
                await release.wait()

    first = asyncio.create_task(hold(5))
    await asyncio.sleep(0.01)
    second = asyncio.create_task(hold(0.05))
    await asyncio.sleep(0.01)
    cancel(second)
    with pytest.raises((TimeoutError, asyncio.CancelledError)):
        await second
    release.set()
    await first
    await hold(0.05)
    assert not share._turns
