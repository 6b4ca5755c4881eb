"""A task cancelled at any point leaves nothing on its connection for the next borrower."""

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import asyncpg
import pytest

from shared.chassis.http.idempotency import IdempotencyKey
from shared.chassis.http.transaction import RequestTransaction
from shared.chassis.postgres import Connection, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from stack.migrate import DatabaseAccess
from tests.conftest import ServiceEnv
from tests.isolation.pools import assert_clean, assert_within_budget, pools_of
from tests.isolation.stepping import Stepped

REQUESTS = 10_000
TOGETHER = 24
TENANTS = range(1, 9)
SEED = 20_260_131
FEW = {"app": 2, "worker": 2, "queue": 2}


@asynccontextmanager
async def as_request(database: Database, user_id: int) -> AsyncIterator[Connection]:
    async with RequestTransaction(database, user_id, IdempotencyKey(str(new_id()), b"")) as transaction:
        async with transaction.open() as connection:
            yield connection
        await (await transaction.ensure_open()).execute("SELECT 1")  # as the answer is stored after the handler


Transaction = Callable[[Database, int], AbstractAsyncContextManager[Connection]]
TRANSACTIONS: dict[str, Transaction] = {
    "tenant": lambda database, user_id: database.tenant(user_id),
    "request": as_request,
    "tenants": lambda database, user_id: database.tenants([user_id, user_id + 100]),
    "queue": lambda database, _: database.queue(),
    "untenanted": lambda database, _: database.untenanted(),
}


@pytest.fixture
async def database(service_env: ServiceEnv, request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """Pools of analytics' roles, with as many connections as the test requests."""
    connections = {f"postgres_{role}_connections": n for role, n in getattr(request, "param", FEW).items()}
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    opened = await Database.connect(
        ServiceSettings.model_validate({**values, "service": "analytics", **connections})
    )
    try:
        yield opened
    finally:
        await opened.close()


@pytest.fixture
async def superuser(postgres: str, database_access: DatabaseAccess) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres, database=database_access.name)
    yield connection
    await connection.close()


async def insert_watch(connection: Connection, user_id: int, period: int) -> None:
    await connection.execute(
        "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES ($1, $2, 'A', '1', $3)",
        user_id,
        new_id(),
        period,
    )


async def write_twice(database: Database, name: str, user_id: int, *, failing: bool) -> None:
    """Write two rows in one transaction, where this kind of transaction may write."""
    async with TRANSACTIONS[name](database, user_id) as connection:
        if name in ("tenant", "request"):
            await insert_watch(connection, user_id, 5)
            await insert_watch(connection, user_id, 6)
        else:
            await connection.execute("SELECT 1")
        if failing:
            raise ValueError("the handler failed")


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
@pytest.mark.parametrize(
    ("cold", "failing"), [(False, False), (False, True), (True, False)], ids=["warm", "failing", "cold"]
)
@pytest.mark.parametrize("name", TRANSACTIONS)
async def test_cancelled_at_each_await_in_turn(
    database: Database, superuser: asyncpg.Connection, name: str, cold: bool, failing: bool, late: bool
) -> None:
    """A cancelled task stays cancelled, and either both rows exist or neither.

    Cold: the connection must be opened first.
    """
    for at in itertools.count(1):
        if cold:
            for pool in pools_of(database).values():
                await pool.expire_connections()
        stepped = Stepped(write_twice(database, name, at, failing=failing), at, late=late)
        (result,) = await asyncio.gather(asyncio.create_task(stepped.run()), return_exceptions=True)
        await assert_clean(database)
        rows = await superuser.fetchval("SELECT count(*) FROM analytics.watchlist WHERE user_id = $1", at)
        assert rows in (0, 2), f"{rows} rows at step {at}"
        if not stepped.struck:
            break
        assert isinstance(result, asyncio.CancelledError), f"step {at}: {result!r}"
        assert not (failing and rows), f"what failed is there at step {at}"
    assert at > (8 if cold else 4), "there was nothing to cancel"
    assert isinstance(result, ValueError) if failing else result is None
    await assert_within_budget(superuser, database, "analytics")


@pytest.mark.timeout(600)  # on a machine that is busy with other work
@pytest.mark.parametrize("database", [{"app": 6, "worker": 3, "queue": 3}], indirect=True)
async def test_ten_thousand_requests_of_many_tenants_cancelled_at_random(
    database: Database, superuser: asyncpg.Connection
) -> None:
    draw = random.Random(SEED)
    for user_id in TENANTS:
        async with database.tenant(user_id) as connection:
            await insert_watch(connection, user_id, 5)
    left = iter(range(REQUESTS))
    outcomes: Counter[str] = Counter()

    async def client() -> None:
        for number in left:
            request = asyncio.create_task(_at_random(database, TENANTS[number % len(TENANTS)], draw))
            if draw.random() < 0.15:
                asyncio.get_running_loop().call_later(draw.random() * 0.02, request.cancel)
            (result,) = await asyncio.gather(request, return_exceptions=True)
            assert result is None or isinstance(result, asyncio.CancelledError), repr(result)
            outcomes["worked" if result is None else "cancelled"] += 1

    await asyncio.gather(*(client() for _ in range(TOGETHER)))
    assert outcomes.total() == REQUESTS
    assert min(outcomes["worked"], outcomes["cancelled"]) > REQUESTS / 10, outcomes
    await assert_clean(database)
    await assert_within_budget(superuser, database, "analytics")


async def _at_random(database: Database, user_id: int, draw: random.Random) -> None:
    name = draw.choice(("tenant", "tenant", "tenant", "request", "tenants", "queue", "untenanted"))
    work = _see_own(database, name, user_id)
    if draw.random() < 0.3:
        await Stepped(work, draw.randint(1, 9), late=draw.random() < 0.5)
    else:
        await work


async def _see_own(database: Database, name: str, user_id: int) -> None:
    """Assert that each read shows only this tenant's rows, before and after a pause."""
    expected = {"queue": None, "untenanted": []}.get(name, [user_id])
    async with TRANSACTIONS[name](database, user_id) as connection:
        for _ in range(2):
            if expected is None:
                assert await connection.fetchval("SELECT current_setting('app.user_id', true)") in (None, "")
            else:
                seen = await connection.fetch("SELECT user_id FROM watchlist")
                assert [row["user_id"] for row in seen] == expected, name
            await asyncio.sleep(0)


async def test_the_state_a_borrower_leaves_is_reset_for_the_next(database: Database) -> None:
    """A session setting, a cursor beyond its transaction, a lock, a channel."""
    async with database.tenant(1) as connection:
        await insert_watch(connection, 1, 5)
    for _ in range(FEW["app"]):
        async with database.tenant(1) as connection:
            await connection.execute(
                """
                SET app.user_id = '1';
                DECLARE kept CURSOR WITH HOLD FOR SELECT * FROM watchlist;
                SELECT try_lock_idempotency_key('kept');
                LISTEN leak
                """
            )
    await assert_clean(database)
    async with database.untenanted() as connection:
        assert await connection.fetch("SELECT * FROM watchlist") == []
        assert await connection.fetch("SELECT name FROM pg_cursors WHERE is_holdable") == []
        assert await connection.fetch("SELECT pg_listening_channels()") == []


async def test_a_silently_failed_transaction_raises(database: Database) -> None:
    """The database answers COMMIT with ROLLBACK, which is no error to Postgres."""

    async def twice() -> None:
        async with database.tenant(1) as connection:
            await insert_watch(connection, 1, 5)
            with pytest.raises(asyncpg.UniqueViolationError):
                await insert_watch(connection, 1, 5)

    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await twice()
    await assert_clean(database)
    async with database.tenant(1) as connection:
        assert await connection.fetchval("SELECT count(*) FROM watchlist") == 0


async def test_a_task_that_outlives_its_request_cannot_use_a_later_connection(database: Database) -> None:
    """It keeps the connection of its request, which another request may have borrowed by then."""
    go, seen = asyncio.Event(), []

    async def straggler(kept: Connection) -> None:
        await go.wait()
        seen.extend(await kept.fetch("SELECT user_id FROM watchlist"))

    async with as_request(database, 1) as connection:
        await insert_watch(connection, 1, 5)
        task = asyncio.create_task(straggler(connection))
    async with database.tenant(2) as connection:
        await insert_watch(connection, 2, 5)
        go.set()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert [row["user_id"] for row in await connection.fetch("SELECT user_id FROM watchlist")] == [2]
    assert isinstance(result, asyncpg.InterfaceError) or [row["user_id"] for row in seen] == [1]
    await assert_clean(database)
