"""Limits each tenant's share of a process: concurrent requests and the database connections they hold."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from shared.chassis.errors import TooManyAtOnce

MAX_REQUESTS = 100  # concurrent requests of one tenant; those without a connection wait for one
PART_OF_CONNECTIONS = 3  # a tenant holds at most one third of the pool


@dataclass(slots=True)
class _Request:
    """`held` is the number of its connections; only the first waits for its turn, nested ones do not."""

    user_id: int
    held: int = 0


@dataclass(slots=True)
class _Turns:
    free: asyncio.Semaphore
    users: int = 0  # requests that hold or wait for the semaphore


# Ambient, so that no operation has to pass the request on to the transaction that it opens.
_request: ContextVar[_Request | None] = ContextVar("request", default=None)


class FairShare:
    """Counts only requests of authenticated callers, not consumers, jobs, running streams or health checks."""

    def __init__(self, connections: int, most_requests: int = MAX_REQUESTS) -> None:
        self._most_held = max(1, connections // PART_OF_CONNECTIONS)
        self._most_requests = most_requests
        self._requests: Counter[int] = Counter()
        self._turns: dict[int, _Turns] = {}

    @contextlib.contextmanager
    def request(self, user_id: int) -> Iterator[None]:
        """Count a request while it is handled. Raises TooManyAtOnce before anything is done."""
        if self._requests[user_id] >= self._most_requests:
            raise TooManyAtOnce
        self._requests[user_id] += 1
        token = _request.set(_Request(user_id))
        try:
            yield
        finally:
            _request.reset(token)
            self._requests[user_id] -= 1
            if not self._requests[user_id]:
                del self._requests[user_id]

    @contextlib.asynccontextmanager
    async def turn(self, wait_s: float) -> AsyncIterator[None]:
        """Wait for the current request's turn to hold a connection, and hold it. Raises TimeoutError."""
        request = _request.get()
        if request is None:
            yield
            return
        turns = None if request.held else await self._take_turn(request.user_id, wait_s)
        request.held += 1
        try:
            yield
        finally:
            request.held -= 1
            if turns is not None:
                turns.free.release()
                self._leave(request.user_id, turns)

    async def _take_turn(self, user_id: int, wait_s: float) -> _Turns:
        turns = self._turns.setdefault(user_id, _Turns(asyncio.Semaphore(self._most_held)))
        turns.users += 1
        has_turn = False
        try:
            if turns.free.locked():
                async with asyncio.timeout(wait_s):
                    has_turn = await turns.free.acquire()
            else:
                has_turn = await turns.free.acquire()  # at once
        finally:
            if not has_turn:
                self._leave(user_id, turns)
        return turns

    def _leave(self, user_id: int, turns: _Turns) -> None:
        turns.users -= 1
        if not turns.users:
            self._turns.pop(user_id, None)
