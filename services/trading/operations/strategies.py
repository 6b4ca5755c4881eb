"""Make, change and give up strategies; every change is a new version that never changes again."""

import json
from uuid import UUID

import asyncpg

from services.trading.errors import StrategyInUse
from services.trading.queries import sessions, strategies
from services.trading.queries.strategies import StrategyRow
from shared.chassis.errors import InvalidInput, NameTaken, NotFound
from shared.chassis.postgres import Connection, Database
from shared.contracts.types import new_id
from shared.strategy.document import Strategy, StrategyError, parse_strategy


def read_document(raw: object) -> Strategy:
    """Raises InvalidInput with every fault's JSON path."""
    try:
        return parse_strategy(raw)
    except StrategyError as error:
        raise InvalidInput(
            "the strategy document is not valid",
            errors=[{"path": fault.path, "reason": fault.reason} for fault in error.faults],
        ) from error


def document_of(strategy: Strategy) -> dict[str, object]:
    """As it is stored and shown: the canonical parts with name and description."""
    parts: dict[str, object] = json.loads(strategy.canonical_json())
    named: dict[str, object] = {"strategy_name": strategy.name}
    if strategy.description is not None:
        named["strategy_description"] = strategy.description
    return {**named, **parts}


async def create_strategy(database: Database, user_id: int, raw: object) -> StrategyRow:
    strategy = read_document(raw)
    document, strategy_id = document_of(strategy), new_id()
    try:
        async with database.tenant(user_id) as connection:
            await strategies.insert_strategy(connection, user_id, strategy_id, document, strategy.content_hash)
            await strategies.insert_version(connection, user_id, strategy_id, 1, document, strategy.content_hash)
            return await _get(connection, user_id, strategy_id)
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(f"a strategy is named {strategy.name!r} already") from error


async def change_strategy(database: Database, user_id: int, strategy_id: UUID, raw: object) -> StrategyRow:
    """A new version; running sessions stay on theirs. The same document again changes nothing."""
    strategy = read_document(raw)
    document = document_of(strategy)
    try:
        async with database.tenant(user_id) as connection:
            found = await _get(connection, user_id, strategy_id)
            same = (found.strategy_name, found.strategy_description) == (strategy.name, strategy.description)
            if same and found.content_hash == strategy.content_hash:
                return found
            version = await strategies.update_strategy(
                connection, user_id, strategy_id, document, strategy.content_hash
            )
            if version is None:
                raise NotFound
            await strategies.insert_version(
                connection, user_id, strategy_id, version, document, strategy.content_hash
            )
            return await _get(connection, user_id, strategy_id)
    except asyncpg.UniqueViolationError as error:
        raise NameTaken(f"a strategy is named {strategy.name!r} already") from error


async def delete_strategy(database: Database, user_id: int, strategy_id: UUID) -> None:
    """Given up, not erased: trades refer to its versions. Not while a session runs on it."""
    async with database.tenant(user_id) as connection:
        await _get(connection, user_id, strategy_id)
        running = await sessions.list_running(connection, user_id)
        if any(session.strategy_id == strategy_id for session in running):
            raise StrategyInUse("stop the sessions that run on it first")
        await strategies.deactivate_strategy(connection, user_id, strategy_id)


async def _get(connection: Connection, user_id: int, strategy_id: UUID) -> StrategyRow:
    found = await strategies.get_strategy(connection, user_id, strategy_id)
    if found is None or not found.is_active:
        raise NotFound
    return found
