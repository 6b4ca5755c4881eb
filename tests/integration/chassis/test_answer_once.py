"""The transaction around the handler of a request with an idempotency key, begun no sooner than needed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import pytest

from shared.chassis.errors import Conflict, IdempotencyInFlight
from shared.chassis.http.idempotency import IdempotencyKey, StoredAnswer, insert_answer
from shared.chassis.http.transaction import RequestTransaction, answer_once
from shared.chassis.postgres import Connection, Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from tests.pace import patient

ANSWER = StoredAnswer(201, "/v1/watchlist/1", "{}")
KEY = IdempotencyKey("k", b"the same request")
Work = Callable[[RequestTransaction], Awaitable[StoredAnswer]]
Once = Callable[[Work], Coroutine[None, None, tuple[StoredAnswer, bool]]]


@pytest.fixture
async def database(
    service_env: Callable[[str], dict[str, str]], request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """A database with analytics' roles."""
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    connections = getattr(request, "param", 6)
    settings = {**values, "service": "analytics", "postgres_app_connections": connections}
    opened = await Database.connect(ServiceSettings.model_validate(settings))
    yield opened
    await opened.close()


@pytest.fixture
def once(database: Database) -> Once:
    return lambda work: answer_once(
        database, 1, KEY, work, lambda connection, answer: insert_answer(connection, 1, KEY, answer)
    )


async def watch(connection: Connection, period: int) -> None:
    await connection.execute(
        "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES (1, $1, 'A', '1', $2)",
        new_id(),
        period,
    )


async def count_watches(database: Database) -> int:
    async with database.tenant(1) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM watchlist"))


async def test_a_handler_that_fails_after_its_block_leaves_nothing(database: Database, once: Once) -> None:
    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
            await watch(connection, 6)
        raise Conflict

    with pytest.raises(Conflict):
        await once(work)
    assert await count_watches(database) == 0


async def test_the_transaction_is_committed_with_the_answer_not_at_the_end_of_the_block(
    database: Database, once: Once
) -> None:
    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        assert await count_watches(database) == 0
        return ANSWER

    assert await once(work) == (ANSWER, False)
    assert await count_watches(database) == 1


async def test_after_a_refusal_the_key_is_free(database: Database, once: Once) -> None:
    async def refuse(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        raise Conflict

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    with pytest.raises(Conflict):
        await once(refuse)
    assert await once(work) == (ANSWER, False)
    assert await count_watches(database) == 1


async def test_a_handler_cannot_answer_after_its_block_failed(database: Database, once: Once) -> None:
    async def fail(transaction: RequestTransaction) -> None:
        async with transaction.open() as connection:
            await watch(connection, 5)
            raise ZeroDivisionError

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        with pytest.raises(ZeroDivisionError):
            await fail(transaction)
        return ANSWER

    with pytest.raises(AssertionError, match="one transaction"):
        await once(work)
    assert await count_watches(database) == 0


@pytest.mark.parametrize("database", [1], indirect=True)
async def test_a_handler_that_waits_holds_no_connection(database: Database, once: Once) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        waiting.set()
        await go.wait()
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    first = asyncio.create_task(once(work))
    await waiting.wait()
    async with asyncio.timeout(patient(5)):
        assert await count_watches(database) == 0
    go.set()
    assert await first == (ANSWER, False)


async def test_concurrent_requests_without_an_answer_have_one_effect(database: Database, once: Once) -> None:
    arrived = asyncio.Barrier(8)

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        await arrived.wait()
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    done = await asyncio.gather(*(once(work) for _ in range(8)), return_exceptions=True)
    assert await count_watches(database) == 1
    assert done.count((ANSWER, False)) == 1
    rest = [each for each in done if each != (ANSWER, False)]
    assert all(each == (ANSWER, True) or isinstance(each, IdempotencyInFlight) for each in rest), rest


async def test_a_request_that_finds_an_answer_later_returns_it_without_effect(
    database: Database, once: Once
) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def slow(transaction: RequestTransaction) -> StoredAnswer:
        waiting.set()
        await go.wait()
        async with transaction.open() as connection:
            await watch(connection, 5)
        return StoredAnswer(201, None, "another")

    async def quick(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 6)
        return ANSWER

    late = asyncio.create_task(once(slow))
    await waiting.wait()
    assert await once(quick) == (ANSWER, False)
    go.set()
    assert await late == (ANSWER, True)
    assert await count_watches(database) == 1


async def test_a_stored_answer_is_returned_without_the_handler(database: Database, once: Once) -> None:
    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    async def never(transaction: RequestTransaction) -> StoredAnswer:
        await transaction.replay_if_answered()
        raise AssertionError("the stored answer was not used")

    await once(work)
    assert await once(never) == (ANSWER, True)


async def test_a_stored_answer_is_returned_also_while_another_request_holds_the_key(
    database: Database, once: Once
) -> None:
    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    await once(work)
    async with database.tenant(1) as connection:
        assert await connection.fetchval("SELECT try_lock_idempotency_key('k')")
        assert await once(work) == (ANSWER, True)
    assert await count_watches(database) == 1


async def test_a_handler_that_writes_nothing_is_answered_once_too(once: Once) -> None:
    async def work(_: RequestTransaction) -> StoredAnswer:
        return ANSWER

    assert await once(work) == (ANSWER, False)
    assert await once(work) == (ANSWER, True)


async def test_a_cancelled_request_leaves_nothing_and_its_key_free(database: Database, once: Once) -> None:
    inside = asyncio.Event()

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
            inside.set()
            await connection.fetchval("SELECT pg_sleep(30)")
        return ANSWER

    async def again(transaction: RequestTransaction) -> StoredAnswer:
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    first = asyncio.create_task(once(work))
    await inside.wait()
    with pytest.raises(IdempotencyInFlight):
        await once(again)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await once(again) == (ANSWER, False)
    assert await count_watches(database) == 1


async def test_a_task_that_outlives_its_request_has_its_own_transactions(database: Database, once: Once) -> None:
    go, tasks = asyncio.Event(), []

    async def later() -> None:
        await go.wait()
        async with database.tenant(1) as connection:
            await watch(connection, 6)

    async def work(transaction: RequestTransaction) -> StoredAnswer:
        tasks.append(asyncio.create_task(later()))
        async with transaction.open() as connection:
            await watch(connection, 5)
        return ANSWER

    assert await once(work) == (ANSWER, False)
    go.set()
    await asyncio.gather(*tasks)
    assert await count_watches(database) == 2
