"""Idempotency-Key: a request that creates something can be retried and creates it once.

The rules are Stripe's: the same key with the same request gets the first answer again, with another request it is
refused, and while the first request is in progress the second is asked to wait. The answer is stored in the
transaction that creates the resource, so one never exists without the other. A refusal is not stored: nothing was
created, and the same request may succeed later.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from pydantic import BaseModel

from shared.chassis.errors import IdempotencyInFlight, IdempotencyMismatch, InvalidInput
from shared.chassis.jobs import AT_ONCE, Job, every
from shared.chassis.postgres import Connection, Database

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
LONGEST_KEY = 255
CLEANUP_EVERY_S = 600.0
CLEANUP_BATCH = 5_000

log = structlog.get_logger()


@dataclass(frozen=True)
class StoredAnswer:
    """The stored parts of an answer."""

    status: int
    location: str | None
    body: str


class _AlreadyAnswered(Exception):
    """Leaves the handler of a request that a concurrent request with the same key has answered meanwhile."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__()
        self.answer = answer


def key_of(request: web.Request) -> str | None:
    """Return the client's key, or None. Raises InvalidInput."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        reason = f"must be given once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise InvalidInput(errors=[{"path": HEADER, "reason": reason}])
    return key


def request_sha256(request: web.Request, body: BaseModel | None) -> bytes:
    """Return the hash that identifies a request. Secrets in the body are masked, so they are not part of it."""
    shown = body.model_dump_json() if body is not None else ""
    return hashlib.sha256(f"{request.method} {request.path_qs}\n{shown}".encode()).digest()


async def answer_once(
    database: Database,
    user_id: int,
    key: str,
    sha256: bytes,
    work: Callable[[], Awaitable[StoredAnswer]],
) -> tuple[StoredAnswer, bool]:
    """Return the answer, and whether it is replayed. Raises IdempotencyMismatch, IdempotencyInFlight.

    What `work` writes as this tenant is committed together with the answer. The transaction locks the key when it
    begins, so only one of several concurrent requests continues.
    """
    async with database.tenant(user_id) as connection:
        if (known := await find_answer(connection, user_id, key, sha256)) is not None:
            return known, True

    async def take_key(connection: Connection) -> None:
        await lock_key(connection, key)
        if (known := await find_answer(connection, user_id, key, sha256)) is not None:
            raise _AlreadyAnswered(known)

    try:
        async with database.one_transaction(user_id, take_key) as transaction:
            answer = await work()
            await insert_answer(await transaction.connection(), user_id, key, sha256, answer)
            return answer, False
    except _AlreadyAnswered as error:
        return error.answer, True


async def lock_key(connection: Connection, key: str) -> None:
    """Lock the current tenant's key until the transaction ends, even by a crash. Raises IdempotencyInFlight."""
    if not await connection.fetchval("SELECT try_lock_idempotency_key($1)", key):
        raise IdempotencyInFlight


async def find_answer(connection: Connection, user_id: int, key: str, sha256: bytes) -> StoredAnswer | None:
    """Raises IdempotencyMismatch."""
    row = await connection.fetchrow(
        "SELECT request_sha256, status, location, body FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        user_id,
        key,
    )
    if row is None:
        return None
    if row["request_sha256"] != sha256:
        raise IdempotencyMismatch
    return StoredAnswer(row["status"], row["location"], row["body"])


async def insert_answer(
    connection: Connection, user_id: int, key: str, sha256: bytes, answer: StoredAnswer
) -> None:
    await connection.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, request_sha256, status, location, body)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        user_id,
        key,
        sha256,
        answer.status,
        answer.location,
        answer.body,
    )


def key_retention(database: Database) -> Job:
    """Return the job that deletes keys older than a day."""

    async def work() -> float | None:
        async with database.queue() as connection:
            deleted = await connection.fetchval("SELECT forget_idempotency_keys($1)", CLEANUP_BATCH)
        if deleted:
            log.info("idempotency_keys_deleted", keys=deleted)
        return AT_ONCE if deleted == CLEANUP_BATCH else None

    return every("key-retention", CLEANUP_EVERY_S, work)
