"""Runs blocking calls in threads of our own, of which each tenant holds only a few.

The interpreter's default executor has six threads on a small machine: six hung calls of one tenant would stop all.
"""

import asyncio
import math
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class NotStarted(Exception):
    """The call got no thread in time. It never ran."""


class StillRunning(Exception):
    """The call did not end in time. It continues in its thread, which stays counted as the tenant's until then."""


@dataclass(slots=True)
class _Slots:
    all: asyncio.Semaphore
    patient: asyncio.Semaphore
    users: int = 0


class TenantThreads:
    """`patient` calls, which may wait, get only half of a tenant's threads, so that they never hold all."""

    def __init__(self, threads: int, per_tenant: int) -> None:
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="exchange")
        self._per_tenant = per_tenant
        self._tenants: dict[int, _Slots] = {}
        self._loop = asyncio.get_running_loop()

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def run(
        self,
        tenant: int,
        work: Callable[[], T],
        on_end: Callable[[Future[T] | None], None],
        within_s: float,
        patient: bool = False,
        start_by: float = math.inf,
    ) -> T:
        """Run a call. Raises NotStarted, StillRunning and what the call raises.

        `start_by`: by the loop's clock; a call that gets its thread later does not run.
        If the caller is cancelled while the call runs, the call continues too. `on_end` is called once, on the
        loop, when the call has ended, or with None if it will never run.
        """
        slots = self._tenants.setdefault(tenant, self._new_slots())
        held = [slots.patient, slots.all] if patient else [slots.all]
        deadline = self._loop.time() + within_s
        submitted = False
        try:
            await self._acquire(tenant, slots, held, min(deadline, start_by))
            running = self._executor.submit(self._start, work, start_by)
            submitted = True
        finally:
            if not submitted:
                on_end(None)
        running.add_done_callback(partial(self._end_later, tenant, slots, held, on_end))
        return await _result(running, deadline)

    def _start(self, work: Callable[[], T], start_by: float) -> T:
        """Runs on a thread."""
        if self._loop.time() > start_by:
            raise NotStarted
        return work()

    def _new_slots(self) -> _Slots:
        return _Slots(asyncio.Semaphore(self._per_tenant), asyncio.Semaphore(max(1, self._per_tenant // 2)))

    async def _acquire(self, tenant: int, slots: _Slots, wanted: list[asyncio.Semaphore], deadline: float) -> None:
        slots.users += 1
        acquired: list[asyncio.Semaphore] = []
        try:
            async with asyncio.timeout_at(deadline):
                for semaphore in wanted:
                    await semaphore.acquire()
                    acquired.append(semaphore)
        except TimeoutError:
            raise NotStarted from None
        finally:
            if len(acquired) < len(wanted):
                self._end(tenant, slots, acquired)

    def _end_later(
        self,
        tenant: int,
        slots: _Slots,
        held: list[asyncio.Semaphore],
        on_end: Callable[[Future[T] | None], None],
        running: Future[T],
    ) -> None:
        """Runs on the call's thread, or on the loop's if the call was cancelled before it started."""
        with suppress(RuntimeError):  # the loop is closed: shutting down
            self._loop.call_soon_threadsafe(self._end, tenant, slots, held)
            self._loop.call_soon_threadsafe(on_end, None if running.cancelled() else running)

    def _end(self, tenant: int, slots: _Slots, held: list[asyncio.Semaphore]) -> None:
        for semaphore in held:
            semaphore.release()
        slots.users -= 1
        if not slots.users:
            self._tenants.pop(tenant, None)


async def _result(running: Future[T], deadline: float) -> T:
    try:
        async with asyncio.timeout_at(deadline):
            return await asyncio.wrap_future(running)
    except TimeoutError:
        if running.done() and not running.cancelled():
            return running.result()  # the call's own timeout, or it ended in this moment
        raise (NotStarted if running.cancelled() else StillRunning) from None
