"""Blocking calls of one tenant never delay another's, and a cancelled call is not lost."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future

import pytest

from services.trading.exchange.tenant_threads import NotStarted, StillRunning, TenantThreads

LONG_S = 10.0


class Hang:
    """Calls that hang until they are released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.running = 0
        self.ended: list[Future[str] | None] = []

    def __call__(self) -> str:
        self.running += 1
        self.released.wait(LONG_S)
        return "late"

    async def until_running(self, count: int) -> None:
        while self.running < count:
            await asyncio.sleep(0.005)

    async def until_ended(self, count: int) -> None:
        while len(self.ended) < count:
            await asyncio.sleep(0.005)


@pytest.fixture
async def threads() -> AsyncIterator[TenantThreads]:
    threads = TenantThreads(threads=8, per_tenant=4)
    yield threads
    threads.close()


@pytest.fixture
def hang() -> Iterator[Hang]:
    hang = Hang()
    yield hang
    hang.released.set()


def ignore(_: object) -> None:
    pass


async def test_one_tenants_hung_calls_do_not_delay_anothers(threads: TenantThreads, hang: Hang) -> None:
    hung = [asyncio.create_task(threads.run(1, hang, hang.ended.append, LONG_S)) for _ in range(20)]
    await hang.until_running(4)
    async with asyncio.timeout(2):
        answers = [await threads.run(2, lambda: "at once", ignore, LONG_S) for _ in range(10)]
    assert answers == ["at once"] * 10
    assert hang.running == 4
    hang.released.set()
    assert await asyncio.gather(*hung) == ["late"] * 20


async def test_patient_calls_leave_threads_for_urgent_ones(threads: TenantThreads, hang: Hang) -> None:
    polls = [asyncio.create_task(threads.run(1, hang, ignore, LONG_S, patient=True)) for _ in range(5)]
    await hang.until_running(2)
    assert await threads.run(1, lambda: "closed", ignore, LONG_S) == "closed"
    hang.released.set()
    await asyncio.gather(*polls)


async def test_a_call_that_gets_no_thread_never_runs(threads: TenantThreads, hang: Hang) -> None:
    hung = [asyncio.create_task(threads.run(1, hang, ignore, LONG_S)) for _ in range(4)]
    await hang.until_running(4)
    ran: list[int] = []
    ended: list[object] = []
    with pytest.raises(NotStarted):
        await threads.run(1, lambda: ran.append(1), ended.append, 0.05)
    hang.released.set()
    await asyncio.gather(*hung)
    assert (ran, ended) == ([], [None])


async def test_a_call_that_waits_for_a_thread_of_the_pool_never_runs_either(hang: Hang) -> None:
    threads = TenantThreads(threads=1, per_tenant=4)
    hung = asyncio.create_task(threads.run(1, hang, ignore, LONG_S))
    await hang.until_running(1)
    ended: list[object] = []
    with pytest.raises(NotStarted):
        await threads.run(2, lambda: "never", ended.append, 0.05)
    hang.released.set()
    await hung
    await asyncio.sleep(0)
    assert ended == [None]
    threads.close()


async def test_a_call_that_takes_too_long_keeps_its_thread_until_it_ends(
    threads: TenantThreads, hang: Hang
) -> None:
    for _ in range(4):
        with pytest.raises(StillRunning):
            await threads.run(1, hang, hang.ended.append, 0.05)
    with pytest.raises(NotStarted):
        await threads.run(1, lambda: "no thread", ignore, 0.05)
    hang.released.set()
    await hang.until_ended(4)
    assert [each.result() for each in hang.ended if each is not None] == ["late"] * 4
    assert await threads.run(1, lambda: "again", ignore, LONG_S) == "again"


async def test_a_cancelled_call_runs_to_its_end_and_reports_it(threads: TenantThreads, hang: Hang) -> None:
    call = asyncio.create_task(threads.run(1, hang, hang.ended.append, LONG_S))
    await hang.until_running(1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert hang.ended == []
    hang.released.set()
    await hang.until_ended(1)
    assert hang.ended[0] is not None
    assert hang.ended[0].result() == "late"


async def test_what_the_call_raises_is_raised_even_a_timeout_of_its_own(threads: TenantThreads) -> None:
    def fail() -> None:
        raise TimeoutError("the call's own")

    with pytest.raises(TimeoutError, match="the call's own"):
        await threads.run(1, fail, ignore, LONG_S)


async def test_nothing_is_kept_of_a_tenant_without_calls(threads: TenantThreads) -> None:
    for tenant in range(50):
        await threads.run(tenant, lambda: None, ignore, LONG_S)
    await asyncio.sleep(0.01)
    assert threads._tenants == {}


async def test_a_call_that_gets_its_thread_after_its_time_never_runs(hang: Hang) -> None:
    threads = TenantThreads(threads=1, per_tenant=4)
    hung = asyncio.create_task(threads.run(1, hang, ignore, LONG_S))
    await hang.until_running(1)
    ran: list[int] = []
    start_by = asyncio.get_running_loop().time() + 0.05
    late = asyncio.create_task(threads.run(2, lambda: ran.append(1), ignore, LONG_S, start_by=start_by))
    await asyncio.sleep(0.1)
    hang.released.set()
    with pytest.raises(NotStarted):
        await late
    await hung
    threads.close()
    assert ran == []
