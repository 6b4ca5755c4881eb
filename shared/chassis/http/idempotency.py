"""Idempotency-Key: a request that makes something may be sent again, and makes it once.

As Stripe has it: the same key with the same request gets the first answer again, with another request it is
refused, and while the first is under way the second is told to wait. The answer is written in the transaction
that made the thing, so it is there whenever the thing is. A refusal is not kept: nothing was made, and the same
request may succeed later.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog
from aiohttp import web
from pydantic import BaseModel

from shared.chassis.errors import IdempotencyInFlight, IdempotencyMismatch, InvalidInput
from shared.chassis.pause import pause
from shared.chassis.postgres import Connection, Database

HEADER = "Idempotency-Key"
REPLAYED = {"Idempotent-Replayed": "true"}
LONGEST_KEY = 255
FORGET_EVERY_S = 600.0
FORGET_AT_ONCE = 5_000

log = structlog.get_logger()


@dataclass(frozen=True)
class KeptAnswer:
    """What was answered, as far as it is kept."""

    status: int
    location: str | None
    body: str


class _AlreadyAnswered(Exception):
    """Leads out of a handler whose request was answered while it was on its way."""

    def __init__(self, answer: KeptAnswer) -> None:
        super().__init__()
        self.answer = answer


def key_of(request: web.Request) -> str | None:
    """The client's key, or None. Raises InvalidInput."""
    given = request.headers.getall(HEADER, [])
    if not given:
        return None
    key = given[0]
    if len(given) > 1 or not 1 <= len(key) <= LONGEST_KEY or not key.isascii() or not key.isprintable():
        reason = f"must stand once, with 1 to {LONGEST_KEY} printable ASCII characters"
        raise InvalidInput(errors=[{"path": HEADER, "reason": reason}])
    return key


def request_sha256(request: web.Request, body: BaseModel | None) -> bytes:
    """What has to be the same for it to be the same request; secrets in a body are masked and so not in it."""
    shown = body.model_dump_json() if body is not None else ""
    return hashlib.sha256(f"{request.method} {request.path_qs}\n{shown}".encode()).digest()


async def answer_once(
    database: Database,
    user_id: int,
    key: str,
    sha256: bytes,
    work: Callable[[], Awaitable[KeptAnswer]],
) -> tuple[KeptAnswer, bool]:
    """The answer, and whether it was there already. Raises IdempotencyMismatch, IdempotencyInFlight.

    What `work` does as this tenant is committed together with its answer. Its first transaction takes the key, so
    of requests that come that far together one goes on.
    """
    async with database.tenant(user_id) as connection:
        if (known := await find_answer(connection, user_id, key, sha256)) is not None:
            return known, True

    async def take_key(connection: Connection) -> None:
        await lock_key(connection, key)
        if (known := await find_answer(connection, user_id, key, sha256)) is not None:
            raise _AlreadyAnswered(known)

    try:
        async with database.as_one(user_id, take_key) as whole:
            answer = await work()
            await insert_answer(await whole.connection(), user_id, key, sha256, answer)
            return answer, False
    except _AlreadyAnswered as error:
        return error.answer, True


async def lock_key(connection: Connection, key: str) -> None:
    """The current tenant's, until the transaction ends, also by its process dying. Raises IdempotencyInFlight."""
    if not await connection.fetchval("SELECT try_lock_idempotency_key($1)", key):
        raise IdempotencyInFlight


async def find_answer(connection: Connection, user_id: int, key: str, sha256: bytes) -> KeptAnswer | None:
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
    return KeptAnswer(row["status"], row["location"], row["body"])


async def insert_answer(connection: Connection, user_id: int, key: str, sha256: bytes, answer: KeptAnswer) -> None:
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


async def forget_keys(database: Database, stop: asyncio.Event) -> None:
    """Until told to stop: keys are kept for a day."""
    while not stop.is_set():
        async with database.queue() as connection:
            gone = await connection.fetchval("SELECT forget_idempotency_keys($1)", FORGET_AT_ONCE)
        if gone:
            log.info("idempotency_keys_forgotten", keys=gone)
        if gone < FORGET_AT_ONCE:
            await pause(stop, FORGET_EVERY_S)
