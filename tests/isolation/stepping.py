"""Runs work step by step and cancels it at the one that is asked for."""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any


class Stepped:
    """`await Stepped(work, at, late)`: the task that awaits it is cancelled at the work's await number `at`.

    Early: just as it begins to wait. Late: when what it waits for is there and it has not been told yet, so that
    whatever it was given is lost. `struck` says whether there was such a step.
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
        go_on: Callable[[], Any] = partial(inner.send, None)
        while True:
            try:
                waited = go_on()
            except StopIteration as done:
                return done.value
            self.steps += 1
            if self.steps == self._at:
                self.struck = True
                if self._late and waited is not None:
                    waited.add_done_callback(lambda _: task.cancel())
                else:
                    task.cancel()
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - whatever it is, it is the work's to take
                go_on = partial(inner.throw, error)
            else:
                go_on = partial(inner.send, None)

    async def run(self) -> object:
        return await self
