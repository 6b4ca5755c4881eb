"""Groups items that arrive together into batches, each written by one call."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog

from shared.chassis.infrastructure_faults import is_infrastructure

T = TypeVar("T")

MOST = 500  # items of a batch
CONCURRENT = 2  # batches: while the database works on one, the next is prepared

log = structlog.get_logger()


@dataclass(eq=False)
class _Submission:
    """The items of one `write`, of which `left` are not done."""

    left: int
    done: asyncio.Future[None]
    outage: Exception | None = None


class Batches(Generic[T]):
    """Items that are submitted before a batch begins, or while others are written, go into the next batch."""

    def __init__(self, write: Callable[[Sequence[T]], Awaitable[None]], order: Callable[[T], int]) -> None:
        """`write` writes a batch in one transaction; it may be called again with a part of it. Batches are cut in
        the order of `order`."""
        self._write = write
        self._order = order
        self._waiting: list[tuple[T, _Submission]] = []
        self._failed: dict[_Submission, list[tuple[T, Exception]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._working = 0  # tasks that will still look for items

    async def write(self, items: Sequence[T]) -> list[tuple[T, Exception]]:
        """Write these items. Returns those that cannot be written, each with its fault.

        An infrastructure fault is raised, after all items were tried.
        """
        if not items:
            return []
        submission = _Submission(len(items), asyncio.get_running_loop().create_future())
        self._waiting += [(item, submission) for item in items]
        while self._working < min(CONCURRENT, -(-len(self._waiting) // MOST)):
            self._working += 1
            task = asyncio.create_task(self._work_off())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        await submission.done
        if submission.outage is not None:
            raise submission.outage
        return self._failed.pop(submission, [])

    async def close(self) -> None:
        """Give up what is not written yet."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _work_off(self) -> None:
        self._waiting.sort(key=lambda waiting: self._order(waiting[0]))
        while self._waiting:
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            await self._write_in_halves(batch)
            for _, submission in batch:
                submission.left -= 1
                if submission.left == 0 and not submission.done.done():
                    submission.done.set_result(None)
        self._working -= 1

    async def _write_in_halves(self, batch: Sequence[tuple[T, _Submission]]) -> None:
        """Write the batch together; if that fails, in halves, until the failing item is found."""
        (fault,) = await asyncio.gather(self._write([item for item, _ in batch]), return_exceptions=True)
        if fault is None:
            return
        if not isinstance(fault, Exception):
            raise fault
        if is_infrastructure(fault):
            for _, submission in batch:
                submission.outage = fault
        elif len(batch) == 1:
            item, submission = batch[0]
            self._failed.setdefault(submission, []).append((item, fault))
        else:
            log.warning("batch_split", items=len(batch), error=repr(fault))
            middle = len(batch) // 2
            await self._write_in_halves(batch[:middle])
            await self._write_in_halves(batch[middle:])
