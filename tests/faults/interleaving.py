"""Tries every order in which the statements of concurrent transactions can run, on the real database.

`for order in every_order(): await run_in(order, superuser, [script, script])`. A script gets a database on which
each statement, and each COMMIT, is a step that waits for its turn. A script whose step waits for another's lock
gets no turn until it has the lock.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeAlias, cast

import asyncpg

from shared.chassis.postgres import Connection, Database
from tests.pace import patient

STATEMENTS = ("execute", "executemany", "fetch", "fetchrow", "fetchval")
LOOK_EVERY_S = 0.005
SETTLED_WITHIN_S = patient(10.0)
MOST_ORDERS = 1_000

Script: TypeAlias = Callable[[Database], Awaitable[object]]


class Order:
    """Chooses which of the ready scripts makes each step. `text` shows the choices as `A`, `B`, …."""

    def __init__(self, first: Sequence[int]) -> None:
        self._first = first
        self.taken: list[tuple[int, int]] = []  # index chosen, out of how many
        self.text = ""

    def choose(self, ready: Sequence[int]) -> int:
        at = len(self.taken)
        index = self._first[at] if at < len(self._first) else 0
        self.taken.append((index, len(ready)))
        self.text += chr(ord("A") + ready[index])
        return ready[index]


def every_order() -> Iterator[Order]:
    """Yield all orders, depth first: each one changes the last choice of the one before that has an alternative
    left."""
    first: list[int] = []
    for _ in range(MOST_ORDERS):
        order = Order(first)
        yield order
        taken = order.taken
        while taken and taken[-1][0] == taken[-1][1] - 1:
            taken.pop()
        if not taken:
            return
        first = [index for index, _ in taken[:-1]] + [taken[-1][0] + 1]
    raise AssertionError(f"more than {MOST_ORDERS} orders: no script waits for a lock")


async def run_in(
    order: Order,
    superuser: asyncpg.Connection,
    database: Database,
    scripts: Sequence[Script],
    between: Callable[[], Awaitable[object]] | None = None,
) -> list[object]:
    """Run the scripts in this order and return each one's result or exception; `between` runs after every step."""
    turns = [_Turn() for _ in scripts]
    tasks = [
        asyncio.ensure_future(script(SteppedDatabase(database, turn)))
        for script, turn in zip(scripts, turns, strict=True)
    ]
    try:
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while not all(task.done() for task in tasks):
                for task, turn in zip(tasks, turns, strict=True):
                    await _settle(superuser, task, turn)
                if between is not None:
                    await between()
                if ready := [number for number, turn in enumerate(turns) if turn.ready.is_set()]:
                    turns[order.choose(ready)].give()
    finally:
        for task in tasks:
            task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


async def _settle(superuser: asyncpg.Connection, task: "asyncio.Future[object]", turn: "_Turn") -> None:
    """Wait until the script is ready for a step, waits for another's lock, or has finished."""
    while not task.done() and not turn.ready.is_set():
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):
                await turn.ready.wait()
                return
        if turn.pid and await superuser.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", turn.pid):
            return


class _Turn:
    """A script's permission to make its next step."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self._go = asyncio.Event()
        self.pid = 0

    async def take(self, connection: Connection) -> None:
        self.pid = connection.get_server_pid()
        self.ready.set()
        await self._go.wait()
        self._go.clear()

    def give(self) -> None:
        self.ready.clear()
        self._go.set()


class SteppedDatabase(Database):
    """The same pools, but each statement waits for its turn."""

    def __init__(self, database: Database, turn: _Turn) -> None:
        super().__init__(database._app, database._worker, database._queue)
        self._turn = turn

    @asynccontextmanager
    async def tenant(self, user_id: int) -> AsyncIterator[Connection]:
        async with super().tenant(user_id) as connection:
            yield cast(Connection, _Stepped(connection, self._turn))
            await self._turn.take(connection)

    @asynccontextmanager
    async def tenants(self, user_ids: Collection[int]) -> AsyncIterator[Connection]:
        async with super().tenants(user_ids) as connection:
            yield cast(Connection, _Stepped(connection, self._turn))
            await self._turn.take(connection)


class _Stepped:
    def __init__(self, connection: Connection, turn: _Turn) -> None:
        self._connection = connection
        self._turn = turn

    def __getattr__(self, name: str) -> Any:  # Any: any attribute of a connection
        method = getattr(self._connection, name)
        if name not in STATEMENTS:
            return method

        async def step(*arguments: object, **options: object) -> object:
            await self._turn.take(self._connection)
            return await method(*arguments, **options)

        return step
