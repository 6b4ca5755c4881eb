"""Idempotency-Key: a request that creates something can be retried and creates it once.

The rules are Stripe's: the same key with the same request gets the first answer again, with another request it is
refused, and while the first request is in progress the second is asked to wait. The answer is stored in the
transaction that creates the resource, so one never exists without the other. A refusal is not stored: nothing was
created, and the same request may succeed later.
"""

import hashlib
from dataclasses import dataclass

import structlog
from aiohttp import web
from asyncpg import Record
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
class IdempotencyKey:
    """The client's key, and the hash that identifies the request it was sent with."""

    key: str
    request_sha256: bytes


@dataclass(frozen=True)
class StoredAnswer:
    """The stored parts of an answer."""

    status: int
    location: str | None
    body: str


class AlreadyAnswered(Exception):
    """Leaves the handler of a request that was answered before."""

    def __init__(self, answer: StoredAnswer) -> None:
        super().__init__()
        self.answer = answer


def key_of(request: web.Request, body: BaseModel | None) -> IdempotencyKey | None:
    """Return the request's key, or None if it has none. Secrets in the body are masked, so they are not part of the
    hash. Raises InvalidInput."""
    values = request.headers.getall(HEADER, [])
    if not values:
        return None
    key = values[0]
    if len(values) > 1 or not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        reason = f"must be given once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise InvalidInput(errors=[{"path": HEADER, "reason": reason}])
    shown = body.model_dump_json() if body is not None else ""
    return IdempotencyKey(key, hashlib.sha256(f"{request.method} {request.path_qs}\n{shown}".encode()).digest())


async def claim_key(connection: Connection, key: IdempotencyKey) -> None:
    """Lock the current tenant's key until the transaction ends, even by a crash: of several requests one continues.

    Raises AlreadyAnswered, IdempotencyMismatch, IdempotencyInFlight.
    """
    row = await connection.fetchrow("SELECT * FROM claim_idempotency_key($1)", key.key)
    if (known := _answer_in(row, key)) is not None:
        raise AlreadyAnswered(known)
    if not row["claimed"]:
        raise IdempotencyInFlight


async def find_answer(connection: Connection, user_id: int, key: IdempotencyKey) -> StoredAnswer | None:
    """Raises IdempotencyMismatch."""
    row = await connection.fetchrow(
        "SELECT request_sha256, status, location, body FROM idempotency_keys WHERE user_id = $1 AND key = $2",
        user_id,
        key.key,
    )
    return None if row is None else _answer_in(row, key)


def _answer_in(row: Record, key: IdempotencyKey) -> StoredAnswer | None:
    """Return None if the row has no answer. Raises IdempotencyMismatch if it has that of another request."""
    if row["status"] is None:
        return None
    if row["request_sha256"] != key.request_sha256:
        raise IdempotencyMismatch
    return StoredAnswer(row["status"], row["location"], row["body"])


async def insert_answer(connection: Connection, user_id: int, key: IdempotencyKey, answer: StoredAnswer) -> None:
    await connection.execute(
        """
        INSERT INTO idempotency_keys (user_id, key, request_sha256, status, location, body)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        user_id,
        key.key,
        key.request_sha256,
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
