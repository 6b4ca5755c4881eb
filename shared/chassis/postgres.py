"""Access to the database: every transaction sets its tenant in the round trip that begins it."""

import asyncio
import json
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from pydantic import SecretStr
from pydantic_core import to_json

from shared.chassis.crash_points import point
from shared.chassis.fair_share import FairShare
from shared.chassis.pause import pause_until
from shared.chassis.settings import ServiceSettings

Connection: TypeAlias = PoolConnectionProxy
Pool: TypeAlias = asyncpg.Pool
Queue = Literal["outbox", "demand"]  # what transactions fill and a loop of the same process reads

CONNECT_TIMEOUT_S = 5
ACQUIRE_TIMEOUT_S = 10
COMMAND_TIMEOUT_S = 35  # the roles' statement_timeout is 30 s: the server gives up first
BEGIN_TIMEOUT_S = 3  # a connection that does not answer even this is dead, whatever TCP reports
BEGIN_ATTEMPTS = 3
REST_S = 1.0  # how often a queue is read that only this process fills: for rows left behind by a killed process
BEGIN = "BEGIN"
# A queue is empty when its statistics are taken and long when they are used: only its index is right for it.
BEGIN_BY_INDEX = f"{BEGIN}; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"

# Raised by a connection whose server was restarted (the last one with asyncpg >= 0.32).
LOST_CONNECTION = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.exceptions.InternalClientError,
    OSError,
)
# Raised by a statement prepared before a schema change. Its transaction was rolled back and asyncpg has dropped all
# such statements of the pool, so a retry succeeds.
STALE_STATEMENT = (asyncpg.InvalidCachedStatementError, asyncpg.exceptions.OutdatedSchemaCacheError)
TYPE_IS_GONE = "cache lookup failed"  # how Postgres reports a dropped type, as an internal error
ROLLED_BACK = (*STALE_STATEMENT, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)
# Faults of the infrastructure: the same operation may succeed later.
INFRASTRUCTURE_FAULTS = (
    *LOST_CONNECTION,
    *STALE_STATEMENT,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.TransactionRollbackError,
    asyncpg.LockNotAvailableError,
    # The database is not created yet, or closed for a restore: a service that starts first waits.
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.ObjectNotInPrerequisiteStateError,
    TimeoutError,
)


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]  # asyncpg has no types
    """A connection that notes which queues its transaction fills, and whether it has to be reset."""

    filled: frozenset[Queue] = frozenset()
    only_read = False

    def note_filled(self, queue: Queue) -> None:
        """Note that this transaction has filled the queue, so that its commit wakes the reader in this process.

        Call it right after the statement: a pooled connection that was lost has no such method.
        """
        self.filled |= {queue}

    def forget_filled(self) -> None:
        self.filled = frozenset()

    async def read(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Fetch by a statement that leaves nothing in the session, as the only one before the release: the pool
        then spares the round trip of its reset."""
        self.only_read = True
        rows: list[asyncpg.Record] = await self.fetch(query, *arguments)
        return rows

    def get_reset_query(self) -> str:
        only_read, self.only_read = self.only_read, False
        reset: str = "" if only_read else super().get_reset_query()
        return reset


class Database:
    """Three connection pools, one per database role of the service.

    `fills_alone` is set if no other process of the service is meant to fill its queues: the readers then rest until
    a transaction of this process has filled theirs.
    """

    def __init__(self, app: Pool, worker: Pool, queue: Pool) -> None:
        self.share = FairShare(app.get_max_size())
        self.fills_alone = False
        self._app = app
        self._worker = worker
        self._queue = queue
        self._filled = {name: asyncio.Event() for name in get_args(Queue)}

    @classmethod
    async def connect(cls, settings: ServiceSettings) -> "Database":
        """Open the pools lazily: a service can start while the database is still unavailable."""
        app, worker, queue = await asyncio.gather(
            _open_pool(settings.postgres_app_dsn, settings.postgres_app_connections, settings.service),
            _open_pool(settings.postgres_worker_dsn, settings.postgres_worker_connections, settings.service),
            _open_pool(settings.postgres_queue_dsn, settings.postgres_queue_connections, settings.service),
        )
        return cls(app, worker, queue)

    async def close(self) -> None:
        """Close the pools, waiting up to 3 s each for connections in use."""
        for pool in (self._app, self._worker, self._queue):
            try:
                await asyncio.wait_for(pool.close(), timeout=3)
            except TimeoutError:
                pool.terminate()

    def tenant(self, user_id: int) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction that sees one tenant's rows."""
        return self._app_transaction(_begin_for_tenant(user_id))

    def untenanted(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction that sees no tenant's rows: locators, plans, candles."""
        return self._app_transaction(BEGIN)

    @asynccontextmanager
    async def _app_transaction(self, begin: str) -> AsyncIterator[Connection]:
        async with self.share.turn(ACQUIRE_TIMEOUT_S), self._transaction(self._app, begin) as connection:
            yield connection

    def tenants(self, user_ids: Collection[int]) -> AbstractAsyncContextManager[Connection]:
        """Open a consumer's transaction, which sees the rows of the tenants whose events are in its batch."""
        return self._transaction(self._worker, _begin_for_batch(user_ids))

    def queue(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction on the queues of all tenants (outbox, parked, leases) and nothing else."""
        return self._transaction(self._queue, BEGIN)

    def queue_by_index(self) -> AbstractAsyncContextManager[Connection]:
        """Open a transaction on the queues whose statements use indexes, whatever the statistics are."""
        return self._transaction(self._queue, BEGIN_BY_INDEX)

    async def fetch_from_queues(self, query: str, *arguments: object) -> list[asyncpg.Record]:
        """Read in one round trip, without a transaction: for loops that ask often and mostly find nothing."""
        connection = await _acquire(self._queue)
        try:
            rows: list[asyncpg.Record] = await connection.read(query, *arguments)
            return rows
        except LOST_CONNECTION:
            await self._queue.expire_connections()
            raise
        finally:
            await _release(self._queue, connection)

    async def until_filled(self, queue: Queue, stop: asyncio.Event, poll_s: float, rest_s: float = REST_S) -> None:
        """Wait until a transaction of this process has filled the queue, or `stop` is set, but not longer than
        `poll_s`, or `rest_s` if no other process fills it."""
        await pause_until(stop, self._filled[queue], rest_s if self.fills_alone else poll_s)

    @asynccontextmanager
    async def _transaction(self, pool: Pool, begin: str) -> AsyncIterator[Connection]:
        connection = await _begin(pool, begin)
        ended = False  # normally, or by a fault or a cancellation
        try:
            try:
                yield connection
                ended = True
            finally:
                if not ended:
                    await _roll_back(connection)
            point("transaction.before_commit")
            if await connection.execute("COMMIT") != "COMMIT":
                raise asyncpg.InFailedSQLTransactionError(
                    "a statement had failed, so the transaction was rolled back"
                )
            for queue in connection.filled:
                self._filled[queue].set()
            point("transaction.after_commit")
        except LOST_CONNECTION:
            await pool.expire_connections()
            raise
        except asyncpg.InternalServerError as error:
            if TYPE_IS_GONE not in str(error):
                raise
            await pool.expire_connections()  # asyncpg keeps these statements
            raise asyncpg.InvalidCachedStatementError(str(error)) from error
        finally:
            await _release(pool, connection)

    async def ping(self) -> None:
        """Raises if the database does not answer within two seconds."""
        async with asyncio.timeout(2):
            async with self._app.acquire() as connection:
                await connection.execute("SELECT 1")


def insert_of(table: str, columns: Collection[str]) -> str:
    """Return the INSERT of one row with these columns, whose values are the parameters."""
    places = ", ".join(f"${number}" for number in range(1, len(columns) + 1))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"


def _begin_for_tenant(user_id: int) -> str:
    if type(user_id) is not int:
        raise TypeError(f"a tenant is an int, not {type(user_id).__name__}")
    return f"{BEGIN}; SET LOCAL app.user_id = '{user_id}'"


def _begin_for_batch(user_ids: Collection[int]) -> str:
    if any(type(user_id) is not int for user_id in user_ids):
        raise TypeError("tenants are ints")
    listed = ",".join(str(user_id) for user_id in sorted(set(user_ids)))
    return f"{BEGIN}; SET LOCAL app.user_ids = '{listed}'"


async def _begin(pool: Pool, begin: str) -> Connection:
    """Begin a transaction; a connection that died with the server is replaced, as nothing was done on it yet."""
    for attempt in range(1, BEGIN_ATTEMPTS + 1):
        connection = await _acquire(pool)
        begun = False
        try:
            await connection.execute(begin, timeout=BEGIN_TIMEOUT_S)
            connection.forget_filled()
            begun = True
            return connection
        except LOST_CONNECTION:
            await pool.expire_connections()  # when one was cut, the others were too, noticed or not
            if attempt == BEGIN_ATTEMPTS:
                raise
        finally:
            if not begun:  # because of a fault or a cancellation
                _terminate(connection)
                await _release(pool, connection)
    raise AssertionError("unreachable")


async def _acquire(pool: Pool) -> Connection:
    """Acquire a connection. The operating system reports an unreachable server as any kind of OSError; those are
    raised as ConnectionError."""
    try:
        async with asyncio.timeout(ACQUIRE_TIMEOUT_S):
            return await pool.acquire()
    except OSError as error:
        if isinstance(error, TimeoutError | ConnectionError):
            raise
        raise ConnectionError(f"the database is unreachable: {error}") from error


async def _roll_back(connection: Connection) -> None:
    """Roll back, so that the next user of the connection gets a clean one; terminate it if that fails."""
    try:
        async with asyncio.timeout(2):
            await connection.execute("ROLLBACK")
    except asyncio.CancelledError:
        _terminate(connection)
        raise
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
        _terminate(connection)


async def _release(pool: Pool, connection: Connection) -> None:
    """Return the connection to the pool, also if the task is cancelled meanwhile. asyncpg replaces one that fails
    during its reset; what was committed before stays committed."""
    with suppress(asyncpg.PostgresError, *LOST_CONNECTION):
        await pool.release(connection, timeout=ACQUIRE_TIMEOUT_S)


def _terminate(connection: Connection) -> None:
    """Terminate the connection; asyncpg may already have released one that it found dead."""
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
        connection_class=PooledConnection,
        server_settings={"application_name": f"tradefleet-{service}"},
    )


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec(
        "jsonb", encoder=_encode_json, decoder=json.loads, schema="pg_catalog", format="text"
    )
    await connection.set_type_codec(
        "timestamptz", encoder=_encode_time, decoder=_decode_time, schema="pg_catalog", format="tuple"
    )


def _encode_json(value: object) -> str:
    """Encode a JSON value, several times as fast as the standard library does. Postgres refuses NaN."""
    return to_json(value).decode()


@lru_cache(maxsize=1024)  # the rows of a batch share their times
def _encode_time(time: datetime) -> tuple[int]:
    """Encode an aware time. asyncpg itself would read a naive one in the server's zone; here it is a DataError."""
    if not isinstance(time, datetime) or time.tzinfo is None:
        raise ValueError("a time must be a datetime with an offset from UTC")
    return ((time - _POSTGRES_EPOCH) // _MICROSECOND,)


def _decode_time(microseconds: tuple[int]) -> datetime:
    return _POSTGRES_EPOCH + timedelta(0, 0, microseconds[0])


_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
