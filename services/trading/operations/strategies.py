"""Create, change, deactivate and delete strategies; every change of a document creates an immutable version."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import asyncpg

from services.trading.domain import MAX_EVER_STORED, MAX_VERSIONS, STORED_BEFORE_PLAN
from services.trading.errors import StrategiesFull, StrategyInUse, VersionsFull
from services.trading.queries import entitlements, published, sessions, strategies
from services.trading.queries.strategies import StrategyRow
from shared.chassis.errors import InvalidInput, NameTaken, PlanLimitReached
from shared.chassis.http.etags import ANY_STATE, IfMatch
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id
from shared.strategy.document.parse import Strategy, StrategyError, parse_strategy


def read_document(raw: object, read: Callable[[object], Strategy] = parse_strategy) -> Strategy:
    """Parse a document. Raises InvalidInput with every fault's JSON path."""
    try:
        return read(raw)
    except StrategyError as error:
        raise InvalidInput(
            "the strategy document is not valid",
            errors=[{"path": fault.path, "reason": fault.reason} for fault in error.faults],
        ) from error


def document_of(strategy: Strategy) -> dict[str, object]:
    """Return the document as it is stored and shown: the canonical parts with name and description."""
    parts: dict[str, object] = json.loads(strategy.canonical_json())
    named: dict[str, object] = {"strategy_name": strategy.name}
    if strategy.description is not None:
        named["strategy_description"] = strategy.description
    return {**named, **parts}


async def create_strategy(connection: Connection, user_id: int, raw: object) -> StrategyRow:
    return await save_strategy(connection, user_id, read_document(raw))


async def save_strategy(
    connection: Connection, user_id: int, strategy: Strategy, strategy_name: str | None = None
) -> StrategyRow:
    """Store a strategy of this tenant, under `strategy_name` if given.

    Raises InvalidInput, NameTaken, StrategiesFull, PlanLimitReached.
    """
    named = strategy if strategy_name is None else replace(strategy, name=strategy_name)
    document, strategy_id = document_of(named), new_id()
    read_document(document)
    with _raise_name_taken(named.name):
        await _check_room(connection, user_id)
        row = await strategies.insert_strategy(connection, user_id, strategy_id, document, named.content_hash)
        await strategies.insert_version(connection, user_id, strategy_id, 1, document, named.content_hash)
        return row


async def change_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, raw: object, if_match: IfMatch = ANY_STATE
) -> StrategyRow:
    """Create a version; running sessions stay on theirs. The same document again changes nothing.

    Raises InvalidInput, NotFound, PreconditionFailed, NameTaken, VersionsFull.
    """
    strategy = read_document(raw)
    document = document_of(strategy)
    with _raise_name_taken(strategy.name):
        found = await strategies.get_strategy(connection, user_id, strategy_id, lock="UPDATE")
        if_match.check(found.revision)
        same = (found.strategy_name, found.strategy_description) == (strategy.name, strategy.description)
        if same and found.content_hash == strategy.content_hash:
            return found
        if found.version >= MAX_VERSIONS:
            raise VersionsFull(f"a strategy can have at most {MAX_VERSIONS} versions", limit=MAX_VERSIONS)
        row = await strategies.update_strategy(connection, user_id, strategy_id, document, strategy.content_hash)
        await strategies.insert_version(connection, user_id, strategy_id, row.version, document, row.content_hash)
        return row


async def set_strategy_active(
    connection: Connection, user_id: int, strategy_id: UUID, *, is_active: bool
) -> StrategyRow:
    """Activate or deactivate a strategy. Running sessions continue, new ones need an active one. Idempotent."""
    found = await strategies.get_strategy(connection, user_id, strategy_id, lock="UPDATE")
    if found.is_active == is_active:
        return found
    return await strategies.set_active(connection, user_id, strategy_id, is_active)


async def delete_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, if_match: IfMatch = ANY_STATE
) -> None:
    """Mark the strategy deleted; its versions stay, because trades refer to them.

    Raises NotFound, PreconditionFailed, StrategyInUse.
    """
    found = await strategies.get_strategy(connection, user_id, strategy_id, lock="UPDATE")
    if_match.check(found.revision)
    running = await sessions.list_running(connection, user_id)
    if any(session.strategy_id == strategy_id for session in running):
        raise StrategyInUse("stop the sessions that run on it first")
    if found.published_strategy_id is not None:
        await published.withdraw_published(connection, found.published_strategy_id)
        await strategies.set_publication(connection, user_id, strategy_id, None, None)
    await strategies.delete_strategy(connection, user_id, strategy_id)


async def _check_room(connection: Connection, user_id: int) -> None:
    """Raises StrategiesFull, PlanLimitReached. Takes a lock: when requests race for one free place, one wins."""
    stored = await strategies.count_stored(connection, user_id, lock=True)
    limits = await entitlements.find_plan_limits(connection, user_id)
    most = STORED_BEFORE_PLAN if limits is None else limits.max_stored_strategies
    if stored.ever >= MAX_EVER_STORED:
        raise StrategiesFull(
            f"{MAX_EVER_STORED} strategies were created, including deleted ones", limit=MAX_EVER_STORED
        )
    if most is not None and stored.kept >= most:
        plan = "FREE" if limits is None else limits.plan
        raise PlanLimitReached(
            f"the plan {plan} allows {most} stored strategies, {stored.kept} in use",
            limit_name="max_stored_strategies",
            allowed=most,
            used=stored.kept,
            plan=plan,
        )


@contextmanager
def _raise_name_taken(name: str) -> Iterator[None]:
    """Convert a unique violation to NameTaken."""
    try:
        yield
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(f"a strategy named {name!r} already exists") from error
