"""The transaction of a request: its handler opens it, and the chassis commits it together with the answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType

from shared.chassis.http.idempotency import (
    AlreadyAnswered,
    IdempotencyKey,
    StoredAnswer,
    claim_key,
    find_answer,
)
from shared.chassis.postgres import Connection, Database


class RequestTransaction:
    """The only transaction in which a request changes something.

    A block that fails is rolled back at its end. One that succeeds is committed when the request's handler has
    returned, so that the answer is written in the same transaction.
    """

    def __init__(self, database: Database, user_id: int, key: IdempotencyKey | None = None) -> None:
        self._database = database
        self._user_id = user_id
        self._key = key
        self._opened = False
        self._connection: Connection | None = None
        self._until_the_answer = AsyncExitStack()

    async def __aenter__(self) -> "RequestTransaction":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._until_the_answer.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Connection]:
        """Begin, as the caller's tenant, and claim the request's idempotency key."""
        assert not self._opened, "a request has one transaction"
        self._opened = True
        async with AsyncExitStack() as stack:
            connection = await stack.enter_async_context(self._database.tenant(self._user_id))
            if self._key is not None:
                await claim_key(connection, self._key)
            yield connection
            self._connection = connection
            self._until_the_answer.push_async_exit(stack.pop_all())

    async def replay_if_answered(self) -> None:
        """Leave the handler if the request was answered before. Raises AlreadyAnswered, IdempotencyMismatch."""
        if self._key is not None:
            async with self._database.tenant(self._user_id) as connection:
                known = await find_answer(connection, self._user_id, self._key)
            if known is not None:
                raise AlreadyAnswered(known)

    async def ensure_open(self) -> Connection:
        """Return the connection, for what is written with the answer. Opens if the handler did not."""
        if self._connection is None:
            async with self.open():
                pass
        assert self._connection is not None, "opened above"
        return self._connection


async def answer_once(
    database: Database,
    user_id: int,
    key: IdempotencyKey,
    work: Callable[[RequestTransaction], Awaitable[StoredAnswer]],
    store: Callable[[Connection, StoredAnswer], Awaitable[None]],
) -> tuple[StoredAnswer, bool]:
    """Return the answer, and whether it is replayed. Raises IdempotencyMismatch, IdempotencyInFlight.

    `store` writes the answer, which is committed with what `work` writes in the transaction.
    """
    try:
        async with RequestTransaction(database, user_id, key) as transaction:
            answer = await work(transaction)
            await store(await transaction.ensure_open(), answer)
            return answer, False
    except AlreadyAnswered as error:
        return error.answer, True
