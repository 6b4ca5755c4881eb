"""An event loop whose time moves only when nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar

from shared.contracts.types import EPOCH

T = TypeVar("T")


class Stuck(AssertionError):
    """Nothing is scheduled, and the main task waits."""


class _Selector(selectors.SelectSelector):
    """Does not wait: it moves the loop's time instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise Stuck
        self.loop.moved += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        selector = _Selector()
        super().__init__(selector)
        selector.loop = self
        self.moved = 0.0
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.moved

    def now(self) -> datetime:
        return EPOCH + timedelta(seconds=round(self.moved, 6))


def run(loop: VirtualLoop, main: Coroutine[Any, Any, T]) -> T:
    """Run to completion, then cancel what is left."""
    try:
        return loop.run_until_complete(main)
    finally:
        loop.run_until_complete(_cancel_rest())


async def _cancel_rest() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        if task is not None:
            task.cancel()
    await asyncio.gather(*(task for task in left if task is not None), return_exceptions=True)
