"""Runs a coroutine step by step and cancels it at a chosen step."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any


class Stepped:
    """`await Stepped(work, at, late)` cancels its task at await number `at` of the work.

    Early: when the work starts to wait. Late: when the awaited result is there but has not been delivered yet, so
    that it is lost. `struck` tells whether the work had such a step.
    """

    def __init__(self, work: Coroutine[Any, Any, object], at: int, *, late: bool) -> None:
        self._work = work
        self._at = at
        self._late = late
        self.steps = 0
        self.struck = False

    def __await__(self) -> Generator[Any, None, object]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._work.__await__()
        resume: Callable[[], Any] = partial(inner.send, None)
        while True:
            try:
                waited = resume()
            except StopIteration as stop:
                return stop.value
            self.steps += 1
            if self.steps == self._at:
                self.struck = True
                if self._late and waited is not None:
                    waited.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - every exception belongs to the work
                resume = partial(inner.throw, error)
            else:
                resume = partial(inner.send, None)

    async def run(self) -> object:
        return await self
