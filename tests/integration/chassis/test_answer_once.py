"""Around the handler of a request with a key: one transaction, begun no sooner than it is needed."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

import pytest

from shared.chassis.errors import Conflict, IdempotencyInFlight
from shared.chassis.http.idempotency import StoredAnswer, answer_once
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.types import new_id
from tests.pace import patient

ANSWER = StoredAnswer(201, "/v1/watchlist/1", "{}")
Once = Callable[[Callable[[], Awaitable[StoredAnswer]]], Coroutine[None, None, tuple[StoredAnswer, bool]]]


@pytest.fixture
async def database(
    service_env: Callable[[str], dict[str, str]], request: pytest.FixtureRequest
) -> AsyncIterator[Database]:
    """Of analytics' roles."""
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    most = getattr(request, "param", 6)
    settings = {**values, "service": "analytics", "postgres_app_connections": most}
    opened = await Database.connect(ServiceSettings.model_validate(settings))
    yield opened
    await opened.close()


@pytest.fixture
def once(database: Database) -> Once:
    return lambda work: answer_once(database, 1, "k", b"the same request", work)


async def watch(database: Database, period: int) -> None:
    async with database.tenant(1) as connection:
        await connection.execute(
            "INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES (1, $1, 'A', '1', $2)",
            new_id(),
            period,
        )


async def watched(database: Database) -> int:
    async with database.tenant(1) as connection:
        return int(await connection.fetchval("SELECT count(*) FROM watchlist"))


async def test_several_transactions_of_a_handler_are_one(database: Database, once: Once) -> None:
    async def work() -> StoredAnswer:
        await watch(database, 5)
        await watch(database, 6)
        raise Conflict

    with pytest.raises(Conflict):
        await once(work)
    assert await watched(database) == 0


async def test_after_a_refusal_the_key_is_free(database: Database, once: Once) -> None:
    async def refuse() -> StoredAnswer:
        await watch(database, 5)
        raise Conflict

    async def work() -> StoredAnswer:
        await watch(database, 5)
        return ANSWER

    with pytest.raises(Conflict):
        await once(refuse)
    assert await once(work) == (ANSWER, False)
    assert await watched(database) == 1


async def test_what_fails_in_one_part_and_is_taken_by_the_handler_leaves_the_others(
    database: Database, once: Once
) -> None:
    async def half_watch() -> None:
        async with database.tenant(1):
            await watch(database, 6)
            raise ZeroDivisionError

    async def work() -> StoredAnswer:
        await watch(database, 5)
        with pytest.raises(ZeroDivisionError):
            await half_watch()
        await watch(database, 7)
        return ANSWER

    assert await once(work) == (ANSWER, False)
    assert await watched(database) == 2


@pytest.mark.parametrize("database", [1], indirect=True)
async def test_a_handler_that_waits_for_others_holds_no_connection(database: Database, once: Once) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def work() -> StoredAnswer:
        waiting.set()
        await go.wait()
        await watch(database, 5)
        return ANSWER

    first = asyncio.create_task(once(work))
    await waiting.wait()
    async with asyncio.timeout(patient(5)):
        assert await watched(database) == 0
    go.set()
    assert await first == (ANSWER, False)


async def test_two_that_found_no_answer_together_have_one_effect(database: Database, once: Once) -> None:
    arrived = asyncio.Barrier(8)

    async def work() -> StoredAnswer:
        await arrived.wait()
        await watch(database, 5)
        return ANSWER

    done = await asyncio.gather(*(once(work) for _ in range(8)), return_exceptions=True)
    assert await watched(database) == 1
    assert done.count((ANSWER, False)) == 1
    rest = [each for each in done if each != (ANSWER, False)]
    assert all(each == (ANSWER, True) or isinstance(each, IdempotencyInFlight) for each in rest), rest


async def test_one_that_finds_the_answer_on_its_way_gives_it_and_has_no_effect(
    database: Database, once: Once
) -> None:
    waiting, go = asyncio.Event(), asyncio.Event()

    async def slow() -> StoredAnswer:
        waiting.set()
        await go.wait()
        await watch(database, 5)
        return StoredAnswer(201, None, "another")

    async def quick() -> StoredAnswer:
        await watch(database, 6)
        return ANSWER

    late = asyncio.create_task(once(slow))
    await waiting.wait()
    assert await once(quick) == (ANSWER, False)
    go.set()
    assert await late == (ANSWER, True)
    assert await watched(database) == 1


async def test_a_known_answer_is_given_without_the_handler(database: Database, once: Once) -> None:
    async def work() -> StoredAnswer:
        await watch(database, 5)
        return ANSWER

    async def never() -> StoredAnswer:
        raise AssertionError("it was answered")

    await once(work)
    assert await once(never) == (ANSWER, True)


async def test_a_handler_that_writes_nothing_is_answered_once_too(once: Once) -> None:
    async def work() -> StoredAnswer:
        return ANSWER

    assert await once(work) == (ANSWER, False)
    assert await once(work) == (ANSWER, True)


async def test_a_cancelled_request_leaves_nothing_and_its_key_free(database: Database, once: Once) -> None:
    inside = asyncio.Event()

    async def work() -> StoredAnswer:
        async with database.tenant(1) as connection:
            await watch(database, 5)
            inside.set()
            await connection.fetchval("SELECT pg_sleep(30)")
        return ANSWER

    async def again() -> StoredAnswer:
        await watch(database, 5)
        return ANSWER

    first = asyncio.create_task(once(work))
    await inside.wait()
    with pytest.raises(IdempotencyInFlight):
        await once(again)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert await once(again) == (ANSWER, False)
    assert await watched(database) == 1


async def test_a_task_that_outlives_its_request_has_transactions_of_its_own(database: Database, once: Once) -> None:
    go, tasks = asyncio.Event(), []

    async def later() -> None:
        await go.wait()
        await watch(database, 6)

    async def work() -> StoredAnswer:
        tasks.append(asyncio.create_task(later()))
        await watch(database, 5)
        return ANSWER

    assert await once(work) == (ANSWER, False)
    go.set()
    await asyncio.gather(*tasks)
    assert await watched(database) == 2
