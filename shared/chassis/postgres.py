"""The database as a service may reach it: every transaction says for whom it is, in the same round trip."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr

from shared.chassis.crash_points import point
from shared.chassis.fair_share import FairShare
from shared.chassis.settings import ServiceSettings

Connection: TypeAlias = PoolConnectionProxy
Pool: TypeAlias = asyncpg.Pool

CONNECT_TIMEOUT_S = 5
ACQUIRE_TIMEOUT_S = 10
COMMAND_TIMEOUT_S = 35  # the roles' statement_timeout is 30 s: the server gives up first
BEGIN_TIMEOUT_S = 3  # a connection that does not answer even this is dead, whatever TCP says

# What a connection says when the server was restarted under it (asyncpg >= 0.32 for the last one).
LOST_CONNECTION = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.exceptions.InternalClientError,
    OSError,
)
# What a statement that was prepared before the schema changed fails with. Its transaction was rolled back, asyncpg
# has forgotten all such statements of the pool, and the same work succeeds.
STALE_STATEMENT = (asyncpg.InvalidCachedStatementError, asyncpg.exceptions.OutdatedSchemaCacheError)
TYPE_IS_GONE = "cache lookup failed"  # of a type that was dropped, as Postgres' own internal error
ROLLED_BACK = (*STALE_STATEMENT, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
# Faults of the infrastructure: the same work may succeed later.
INFRASTRUCTURE_FAULTS = (
    *LOST_CONNECTION,
    *STALE_STATEMENT,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    # Not made yet, or closed for a restore: who starts first waits.
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    TimeoutError,
)


class Whole:
    """The one transaction of a request, begun when its first part is; `over` once it ended."""

    def __init__(self, user_id: int, begin: Callable[[], Awaitable[Connection]]) -> None:
        self.user_id = user_id
        self.over = False
        self._begin = begin
        self._connection: Connection | None = None

    @property
    def begun(self) -> bool:
        return self._connection is not None

    async def connection(self) -> Connection:
        if self._connection is None:
            self._connection = await self._begin()
        return self._connection


# What the transactions of the request under way are to be parts of.
_whole: ContextVar[Whole | None] = ContextVar("whole", default=None)


class Database:
    """Three pools, one per role of the service; `tenant()` is what handlers use."""

    def __init__(self, app: Pool, worker: Pool, queue: Pool) -> None:
        self.share = FairShare(app.get_max_size())
        self._app = app
        self._worker = worker
        self._queue = queue

    @classmethod
    async def connect(cls, settings: ServiceSettings) -> "Database":
        """Open the pools lazily: a service starts while the database is still away."""
        app, worker, queue = await asyncio.gather(
            _open_pool(settings.postgres_app_dsn, settings.postgres_app_connections, settings.service),
            _open_pool(settings.postgres_worker_dsn, settings.postgres_worker_connections, settings.service),
            _open_pool(settings.postgres_queue_dsn, settings.postgres_queue_connections, settings.service),
        )
        return cls(app, worker, queue)

    async def close(self) -> None:
        """Close, waiting a little for what is in flight."""
        for pool in (self._app, self._worker, self._queue):
            try:
                await asyncio.wait_for(pool.close(), timeout=3)
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def tenant(self, user_id: int) -> AsyncIterator[Connection]:
        """A transaction that sees one tenant's rows; inside of `as_one` a part of a larger one."""
        whole = _whole.get()
        if whole is not None and whole.user_id == user_id and not whole.over:
            connection = await whole.connection()
            async with _savepoint(connection, of=user_id, then=user_id):
                yield connection
            return
        async with self._of_app(_begin_for(user_id)) as connection:
            yield connection

    @asynccontextmanager
    async def as_one(
        self, user_id: int, first: Callable[[Connection], Awaitable[None]] | None = None
    ) -> AsyncIterator[Whole]:
        """Every `tenant(user_id)` inside of it is a part of one transaction: all of them or none.

        It begins with the first of them, and with `first`: what is asked of others before that holds no connection.
        One inside of another is a part of it.
        """
        outer = _whole.get()
        if first is None and outer is not None and outer.user_id == user_id and not outer.over:
            yield outer
            return
        async with AsyncExitStack() as stack:

            async def begin() -> Connection:
                connection = await stack.enter_async_context(self._of_app(_begin_for(user_id)))
                if first is not None:
                    await first(connection)
                return connection

            whole = Whole(user_id, begin)
            token = _whole.set(whole)
            try:
                yield whole
            finally:
                whole.over = True
                _whole.reset(token)

    @asynccontextmanager
    async def tenants(self, user_ids: Collection[int]) -> AsyncIterator[Connection]:
        """A consumer's transaction, which sees the rows of the tenants whose events are in its batch."""
        async with _transaction(self._worker, _begin_for_batch(user_ids)) as connection:
            yield connection

    @asynccontextmanager
    async def queue(self) -> AsyncIterator[Connection]:
        """A transaction over the queues of all tenants (outbox, parked, leases) and nothing else."""
        async with _transaction(self._queue, "BEGIN") as connection:
            yield connection

    @asynccontextmanager
    async def untenanted(self) -> AsyncIterator[Connection]:
        """A transaction that sees no tenant's rows: locators, plans, candles.

        Inside of `as_one`, once that has begun, a part of it: one request holds one connection.
        """
        whole = _whole.get()
        if whole is not None and whole.begun and not whole.over:
            connection = await whole.connection()
            async with _savepoint(connection, of=None, then=whole.user_id):
                yield connection
            return
        async with self._of_app("BEGIN") as connection:
            yield connection

    @asynccontextmanager
    async def _of_app(self, begin: str) -> AsyncIterator[Connection]:
        async with self.share.turn(ACQUIRE_TIMEOUT_S), _transaction(self._app, begin) as connection:
            yield connection

    async def ping(self) -> None:
        """Raise if the database does not answer within two seconds."""
        async with asyncio.timeout(2):
            async with self._app.acquire() as connection:
                await connection.execute("SELECT 1")


def _begin_for(user_id: int) -> str:
    return f"BEGIN; {_for(user_id)}"


def _for(user_id: int) -> str:
    if type(user_id) is not int:
        raise TypeError(f"a tenant is an int, not {type(user_id).__name__}")
    return f"SET LOCAL app.user_id = '{user_id}'"


_FOR_NOBODY = "SET LOCAL app.user_id = ''"


def _begin_for_batch(user_ids: Collection[int]) -> str:
    if any(type(user_id) is not int for user_id in user_ids):
        raise TypeError("tenants are ints")
    listed = ",".join(str(user_id) for user_id in sorted(set(user_ids)))
    return f"BEGIN; SET LOCAL app.user_ids = '{listed}'"


@asynccontextmanager
async def _savepoint(connection: Connection, of: int | None, then: int) -> AsyncIterator[None]:
    """What fails inside is undone, and what came before it is not. It is `of` a tenant, what follows of `then`."""
    await connection.execute(f"SAVEPOINT part; {_FOR_NOBODY if of is None else _for(of)}")
    try:
        yield
    except BaseException:
        if not connection.is_closed():
            await connection.execute("ROLLBACK TO part")
        raise
    await connection.execute(f"RELEASE part; {_for(then)}")


@asynccontextmanager
async def _transaction(pool: Pool, begin: str) -> AsyncIterator[Connection]:
    connection = await _begin(pool, begin)
    try:
        try:
            yield connection
        except BaseException:
            await _roll_back(connection)
            raise
        point("transaction.before_commit")
        if await connection.execute("COMMIT") != "COMMIT":
            raise asyncpg.InFailedSQLTransactionError("a statement of it had failed, so it was rolled back")
        point("transaction.after_commit")
    except LOST_CONNECTION:
        await _trust_no_other(pool)
        raise
    except asyncpg.InternalServerError as error:
        if TYPE_IS_GONE not in str(error):
            raise
        await _trust_no_other(pool)  # asyncpg keeps these statements
        raise asyncpg.InvalidCachedStatementError(str(error)) from error
    finally:
        await _give_back(pool, connection)


async def _begin(pool: Pool, begin: str) -> Connection:
    """Begin on a living connection; one that died with the server is replaced, as nothing was done yet."""
    for attempt in range(3):
        connection = await _acquire(pool)
        try:
            await connection.execute(begin, timeout=BEGIN_TIMEOUT_S)
        except BaseException as error:
            _terminate(connection)
            await _give_back(pool, connection)
            if not isinstance(error, LOST_CONNECTION):
                raise
            await _trust_no_other(pool)
            if attempt == 2:
                raise
        else:
            return connection
    raise AssertionError("unreachable")


async def _acquire(pool: Pool) -> Connection:
    """What the operating system says of a server that is not reached is an OSError of any kind."""
    try:
        return await pool.acquire(timeout=ACQUIRE_TIMEOUT_S)
    except OSError as error:
        if isinstance(error, TimeoutError | ConnectionError):
            raise
        raise ConnectionError(f"the database is not reached: {error}") from error


async def _trust_no_other(pool: Pool) -> None:
    """Where one connection was cut the others were too, noticed or not: whoever tries again gets one made anew."""
    await pool.expire_connections()


async def _roll_back(connection: Connection) -> None:
    """Leave nothing behind for the next borrower; a connection that cannot is not given back alive."""
    try:
        async with asyncio.timeout(2):
            await connection.execute("ROLLBACK")
    except asyncio.CancelledError:
        _terminate(connection)
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        _terminate(connection)


async def _give_back(pool: Pool, connection: Connection) -> None:
    """Whole even if the borrower is cancelled. One that dies in its reset is asyncpg's to replace, and what was
    committed before stays so."""
    with suppress(asyncpg.PostgresError, *LOST_CONNECTION):
        await asyncio.shield(pool.release(connection))


def _terminate(connection: Connection) -> None:
    """asyncpg takes a connection back by itself when it finds it dead."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()


async def _open_pool(dsn: SecretStr, connections: int, service: str) -> Pool:
    return await asyncpg.create_pool(
        dsn.get_secret_value(),
        min_size=0,
        max_size=connections,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        max_inactive_connection_lifetime=300,
        init=_prepare,
        server_settings={"application_name": f"tradefleet-{service}"},
    )


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=_encode_json, decoder=json.loads, schema="pg_catalog", format="text"
    )
    await connection.set_type_codec(
        "timestamptz", encoder=_encode_time, decoder=_decode_time, schema="pg_catalog", format="tuple"
    )


_encode_json: Callable[[object], str] = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


def _encode_time(moment: datetime) -> tuple[int]:
    """asyncpg itself would read a naive time as one of the server's own zone; here it is a DataError."""
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError("a moment is a datetime with its offset from UTC")
    return ((moment - _POSTGRES_EPOCH) // _MICROSECOND,)


def _decode_time(microseconds: tuple[int]) -> datetime:
    return _POSTGRES_EPOCH + timedelta(0, 0, microseconds[0])


_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
