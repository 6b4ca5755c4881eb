"""Publish a strategy to all users, withdraw it, and copy published strategies."""

from uuid import UUID

from services.trading.domain import MAX_PUBLISHED
from services.trading.errors import PublishedFull, StrategyInactive
from services.trading.operations.strategies import read_document, save_strategy
from services.trading.queries import published, strategies
from services.trading.queries.strategies import StrategyRow
from shared.chassis.errors import InvalidInput
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id
from shared.strategy.document.parse import parse_stored


async def publish_strategy(
    connection: Connection, user_id: int, strategy_id: UUID, version: int | None, display_name: str
) -> StrategyRow:
    """Publish a copy of one version, replacing the one published before. Publishing the same again changes nothing.

    Raises NotFound, StrategyInactive, InvalidInput, PublishedFull.
    """
    found = await strategies.get_strategy(connection, user_id, strategy_id, lock="UPDATE")
    if not found.is_active:
        raise StrategyInactive
    source = await strategies.find_version(connection, user_id, strategy_id, version or found.version)
    if source is None:
        fault = {"path": "$.version", "reason": "there is no such version of the strategy"}
        raise InvalidInput(errors=[fault])
    read_document(source.document)  # an old document may break rules that were added since
    if found.published_strategy_id is not None:
        current = await published.find_published(connection, found.published_strategy_id)
        if current and (found.published_version, current.display_name) == (source.version, display_name):
            return found
        await published.withdraw_published(connection, found.published_strategy_id)
    if await strategies.count_published(connection, user_id, excluding=strategy_id) >= MAX_PUBLISHED:
        raise PublishedFull(f"you can publish at most {MAX_PUBLISHED} strategies", limit=MAX_PUBLISHED)
    published_id = new_id()
    await published.insert_published(connection, published_id, display_name, source.document, source.content_hash)
    return await strategies.set_publication(connection, user_id, strategy_id, published_id, source.version)


async def unpublish_strategy(connection: Connection, user_id: int, strategy_id: UUID) -> StrategyRow:
    """Withdraw the published copy; copies made by others stay. Idempotent. Raises NotFound."""
    found = await strategies.get_strategy(connection, user_id, strategy_id, lock="UPDATE")
    if found.published_strategy_id is None:
        return found
    await published.withdraw_published(connection, found.published_strategy_id)
    return await strategies.set_publication(connection, user_id, strategy_id, None, None)


async def copy_published_strategy(
    connection: Connection, user_id: int, published_id: UUID, strategy_name: str | None
) -> StrategyRow:
    """Copy a published strategy into one of the tenant's own. Raises NotFound, and as `save_strategy` does."""
    found = await published.get_published(connection, published_id)
    return await save_strategy(connection, user_id, read_document(found.document, parse_stored), strategy_name)
