"""A tenant's part of what tenants share in one process: the requests under way, the connections they hold."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from shared.chassis.errors import TooManyAtOnce

MOST_REQUESTS = 100  # of one tenant under way at once; those without a connection wait for one
PART_OF_CONNECTIONS = 3  # a tenant holds at most one in so many of the pool


@dataclass
class _Request:
    """`held`: how many connections it has; the first waits for its turn, what is nested in it does not."""

    user_id: int
    held: int = 0


@dataclass
class _Turns:
    free: asyncio.Semaphore
    users: int = 0  # of the semaphore: those who hold or wait


_request: ContextVar[_Request | None] = ContextVar("request", default=None)


class FairShare:
    """Only requests of a known caller count: consumers, jobs, streams under way and health checks do not."""

    def __init__(self, connections: int, most_requests: int = MOST_REQUESTS) -> None:
        self._most_held = max(1, connections // PART_OF_CONNECTIONS)
        self._most_requests = most_requests
        self._requests: Counter[int] = Counter()
        self._turns: dict[int, _Turns] = {}

    @contextlib.contextmanager
    def request(self, user_id: int) -> Iterator[None]:
        """For as long as a request is worked. Raises TooManyAtOnce before anything was done."""
        if self._requests[user_id] >= self._most_requests:
            raise TooManyAtOnce
        self._requests[user_id] += 1
        token = _request.set(_Request(user_id))
        try:
            yield
        finally:
            _request.reset(token)
            self._requests -= Counter({user_id: 1})  # whoever has none is forgotten

    @contextlib.asynccontextmanager
    async def turn(self, wait_s: float) -> AsyncIterator[None]:
        """For as long as the request under way holds a connection. Raises TimeoutError."""
        request = _request.get()
        if request is None:
            yield
            return
        async with contextlib.AsyncExitStack() as stack:
            if not request.held:
                await stack.enter_async_context(self._turn(request.user_id, wait_s))
            request.held += 1
            try:
                yield
            finally:
                request.held -= 1

    @contextlib.asynccontextmanager
    async def _turn(self, user_id: int, wait_s: float) -> AsyncIterator[None]:
        turns = self._turns.setdefault(user_id, _Turns(asyncio.Semaphore(self._most_held)))
        turns.users += 1
        try:
            async with asyncio.timeout(wait_s):
                await turns.free.acquire()
            try:
                yield
            finally:
                turns.free.release()
        finally:
            turns.users -= 1
            if not turns.users:
                self._turns.pop(user_id, None)
