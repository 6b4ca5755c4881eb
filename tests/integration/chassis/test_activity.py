"""A user's changes are recorded: once if they are made, never if they are refused, in the same transaction."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from uuid import UUID

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from shared.chassis.activity import CHANGING, is_recorded, object_of, recording_service, with_activity
from shared.chassis.auth import SCOPES, Principal
from shared.chassis.errors import Conflict
from shared.chassis.http.app import Call, Endpoint, EndpointHandler, Reply, created, make_app
from shared.chassis.postgres import Connection, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import ViewModel, new_id
from stack.reference.document import all_endpoints
from tests.pace import patient

ANN = UUID("0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21")
THING = "0190a6f2-7b5e-7c1f-8a52-000000000001"
Json = dict[str, object]


class ThingView(ViewModel):
    thing_id: str = THING


class Ann:
    """Authenticates every caller as Ann, who is as many tenants as a test needs."""

    async def principal(self, tenant: str | None) -> Principal:
        return Principal(int(tenant or 1), ANN, SCOPES, None)


@pytest.fixture
async def database(service_env: Callable[[str], dict[str, str]]) -> AsyncIterator[Database]:
    """A database with analytics' roles."""
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    opened = await Database.connect(ServiceSettings.model_validate({**values, "service": "analytics"}))
    yield opened
    await opened.close()


async def watch(connection: Connection) -> None:
    await connection.execute(
        "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES (1, $1, $2, '1', 5)",
        new_id(),
        new_id().hex.upper()[:30],
    )


async def count_watches(database: Database) -> int:
    async with database.tenant(1) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM watchlist"))


async def list_recorded(database: Database) -> list[Json]:
    async with database.queue() as connection:
        rows = await connection.fetch("SELECT * FROM outbox WHERE topic = 'activity.recorded' ORDER BY id")
    assert {row["headers"]["ce_source"] for row in rows} <= {"analytics"}
    return [json.loads(row["payload"]) for row in rows]


@asynccontextmanager
async def serving(
    database: Database, handler: EndpointHandler, method: str = "POST", path: str = "/v1/things", status: int = 200
) -> AsyncIterator[aiohttp.ClientSession]:
    endpoint = Endpoint(method, path, handler, "", response=ThingView, status=status, scope="trade")
    proxies = [ip_network("127.0.0.1/32")]
    app = make_app(
        [with_activity(endpoint, "analytics", proxies)],
        Ann(),  # type: ignore[arg-type]  # a stand-in of the test
        body_limit_bytes=1_000,
        database=database,
    )
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


async def test_a_change_is_recorded_with_actor_object_and_origin(database: Database) -> None:
    async def make_thing(call: Call) -> Reply[ThingView]:
        async with call.transaction() as connection:
            await watch(connection)
        return created(ThingView(), f"/v1/things/{THING}")

    headers = {"X-Forwarded-For": "6.6.6.6, 203.0.113.7", "User-Agent": "curl/8"}
    async with serving(database, make_thing, status=201) as session:
        await session.post("/v1/things", headers=headers)
    [event] = await list_recorded(database)
    shown = {
        name: event[name] for name in ("actor", "activity_type", "object", "address", "user_agent", "endpoint")
    }
    assert shown == {
        "actor": "USER",
        "activity_type": "MAKE_THING",
        "object": f"/v1/things/{THING}",
        "address": "203.0.113.7",
        "user_agent": "curl/8",
        "endpoint": "POST /v1/things",
    }
    assert (event["user_id"], event["public_id"], event["service"]) == (1, str(ANN), "analytics")


async def test_a_refused_change_is_neither_recorded_nor_made(database: Database) -> None:
    async def refuse(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await watch(connection)
            await watch(connection)
        raise Conflict

    async with serving(database, refuse) as session:
        assert (await session.post("/v1/things")).status == 409
    assert (await list_recorded(database), await count_watches(database)) == ([], 0)


async def test_the_change_is_committed_with_its_event(database: Database) -> None:
    async def change(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await watch(connection)
            await watch(connection)
        async with database.untenanted() as connection:
            assert await connection.fetchval("SELECT count(*) FROM watchlist") == 0
        assert await count_watches(database) == 0
        async with database.tenant(2) as connection:
            await connection.fetchval("SELECT 1")
        return ThingView()

    path = "/v1/things/{id}/use"
    async with serving(database, change, path=path) as session:
        assert (await session.post(path.replace("{id}", THING))).status == 200
    assert [event["object"] for event in await list_recorded(database)] == [f"/v1/things/{THING}"]
    assert await count_watches(database) == 2


async def test_a_change_without_writes_is_recorded_too(database: Database) -> None:
    async def do(_: Call) -> None:
        return None

    async with serving(database, do) as session:
        assert (await session.post("/v1/things")).status == 204
    assert [event["object"] for event in await list_recorded(database)] == [None]


async def test_no_connection_is_held_before_the_first_transaction(database: Database) -> None:
    waiting, go = asyncio.Semaphore(0), asyncio.Event()

    async def ask_first(call: Call) -> ThingView:
        waiting.release()
        await go.wait()
        async with call.transaction() as connection:
            await watch(connection)
        return ThingView()

    async with serving(database, ask_first) as session:
        requests = [asyncio.create_task(session.post("/v1/things")) for _ in range(12)]
        for _ in requests:
            await waiting.acquire()
        async with asyncio.timeout(patient(5)):
            assert await count_watches(database) == 0
        go.set()
        assert {answer.status for answer in await asyncio.gather(*requests)} == {200}
    assert sorted(event["aggregate_seq"] for event in await list_recorded(database)) == [*range(1, 13)]  # type: ignore[type-var]


async def test_one_request_holds_one_connection(database: Database) -> None:
    """As many requests as connections; each would wait forever if it needed a second connection."""
    arrived = asyncio.Barrier(6)

    async def change(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await connection.fetchval("SELECT 1")
            await arrived.wait()
            await connection.fetchval("SELECT 1")
        return ThingView()

    async with serving(database, change) as session, asyncio.timeout(patient(8)):
        tenants = [{"Authorization": str(tenant)} for tenant in range(1, 7)]
        answers = await asyncio.gather(*(session.post("/v1/things", headers=each) for each in tenants))
    assert {answer.status for answer in answers} == {200}


async def test_events_of_a_user_are_numbered_in_order(database: Database) -> None:
    async def do(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await watch(connection)
        return ThingView()

    async with serving(database, do) as session:
        await asyncio.gather(*(session.post("/v1/things") for _ in range(30)))
    assert [event["aggregate_seq"] for event in await list_recorded(database)] == [*range(1, 31)]


async def test_a_sequence_number_in_a_user_agent_is_not_taken_as_the_events(database: Database) -> None:
    async def do(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await watch(connection)
        return ThingView()

    user_agent = '"aggregate_seq":1, \\"aggregate_seq":1'
    async with serving(database, do) as session:
        for _ in range(2):
            await session.post("/v1/things", headers={"User-Agent": user_agent})
    events = await list_recorded(database)
    assert [(event["aggregate_seq"], event["user_agent"]) for event in events] == [(1, user_agent), (2, user_agent)]


async def test_a_change_with_an_idempotency_key_is_recorded_once(database: Database) -> None:
    async def make_thing(call: Call) -> Reply[ThingView]:
        async with call.transaction() as connection:
            await watch(connection)
        return created(ThingView(), f"/v1/things/{THING}")

    async with serving(database, make_thing, status=201) as session:
        for _ in range(3):
            assert (await session.post("/v1/things", headers={"Idempotency-Key": "k"})).status == 201
    assert (len(await list_recorded(database)), await count_watches(database)) == (1, 1)


async def test_a_change_with_a_key_takes_six_round_trips(database: Database) -> None:
    """BEGIN and the tenant, the claim, the change, the activity with the answer, COMMIT, the reset by the pool."""
    statements: list[str] = []

    async def make_thing(call: Call) -> Reply[ThingView]:
        async with call.transaction() as connection:
            if not statements:
                connection.add_query_logger(lambda query: statements.append(query.query))
            await watch(connection)
        return created(ThingView(), f"/v1/things/{THING}")

    async with serving(database, make_thing, status=201) as session:
        for key in ("begins to count", "is counted"):
            assert (await session.post("/v1/things", headers={"Idempotency-Key": key})).status == 201
    begin = [statement.startswith("BEGIN") for statement in statements].index(True)
    assert len(statements[begin:]) == 6, statements


async def test_a_cancelled_request_leaves_both_change_and_event_or_neither(database: Database) -> None:
    inside = asyncio.Event()

    async def change(call: Call) -> ThingView:
        async with call.transaction() as connection:
            await watch(connection)
            inside.set()
            await connection.fetchval("SELECT pg_sleep(0.2)")
        return ThingView()

    async with serving(database, change) as session:
        task = asyncio.create_task(session.post("/v1/things"))
        await inside.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert len(await list_recorded(database)) == await count_watches(database)


async def test_reading_is_not_recorded(database: Database) -> None:
    async def look(_: Call) -> ThingView:
        return ThingView()

    async with serving(database, look, method="GET") as session:
        assert (await session.get("/v1/things")).status == 200
    assert await list_recorded(database) == []


# These endpoints record their activity themselves, including failures.
SELF_RECORDED = {"POST /v1/auth/register", "POST /v1/auth/login", "POST /v1/auth/refresh", "POST /v1/auth/logout"}
SELF_RECORDED |= {"POST /v1/me/password"}


def test_every_change_of_the_platform_is_recorded() -> None:
    changing = [endpoint for endpoint in all_endpoints() if endpoint.method in CHANGING and not endpoint.internal]
    self_recorded = {f"{each.method} {each.path}" for each in changing if not is_recorded(each)}
    assert self_recorded == SELF_RECORDED


@pytest.mark.parametrize(
    ("template", "path", "location", "expected"),
    [
        ("/v1/a/{id}", "/v1/a/1", None, "/v1/a/1"),
        ("/v1/a/{id}/stop", "/v1/a/1/stop", None, "/v1/a/1"),
        ("/v1/a/{id}/b/{other}", "/v1/a/1/b/2", None, "/v1/a/1"),
        ("/v1/a/{id}/b", "/v1/a/1/b", "/v1/b/2", "/v1/b/2"),
        ("/v1/a", "/v1/a", None, None),
    ],
)
def test_the_object_of_a_change(template: str, path: str, location: str | None, expected: str | None) -> None:
    assert object_of(template, path, location) == expected


def test_a_service_whose_events_are_not_consumed_cannot_record() -> None:
    with pytest.raises(ValueError, match="clerk"):
        recording_service("clerk")
