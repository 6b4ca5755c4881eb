"""Show a strategy to everybody, take it back, and take over what others show."""

from uuid import UUID

from services.trading.domain import MOST_PUBLISHED
from services.trading.errors import PublishedFull, StrategyInactive
from services.trading.operations.strategies import get_own, keep_strategy, read_document
from services.trading.queries import published, strategies
from services.trading.queries.published import PublishedRow
from services.trading.queries.strategies import StrategyRow
from shared.chassis.errors import InvalidInput, NotFound
from shared.chassis.postgres import Database
from shared.contracts.types import new_id
from shared.strategy.document.parse import parse_stored


async def publish_strategy(
    database: Database, user_id: int, strategy_id: UUID, version: int | None, display_name: str
) -> StrategyRow:
    """A copy of one version, in place of what was shown of it before. The same again changes nothing."""
    async with database.tenant(user_id) as connection:
        found = await get_own(connection, user_id, strategy_id, lock="UPDATE")
        if not found.is_active:
            raise StrategyInactive
        wanted = await strategies.get_version(connection, user_id, strategy_id, version or found.version)
        if wanted is None:
            fault = {"path": "$.version", "reason": "there is no such version of the strategy"}
            raise InvalidInput(errors=[fault])
        read_document(wanted.document)  # one that was stored before may not be shown to everybody
        if found.published_strategy_id is not None:
            shown = await published.get_published(connection, found.published_strategy_id)
            if shown and (found.published_version, shown.display_name) == (wanted.version, display_name):
                return found
            await published.withdraw_published(connection, found.published_strategy_id)
        if await strategies.count_published(connection, user_id, besides=strategy_id) >= MOST_PUBLISHED:
            raise PublishedFull(f"you can publish {MOST_PUBLISHED} strategies", limit=MOST_PUBLISHED)
        published_id = new_id()
        await published.insert_published(
            connection, published_id, display_name, wanted.document, wanted.content_hash
        )
        await strategies.set_publication(connection, user_id, strategy_id, published_id, wanted.version)
        return await get_own(connection, user_id, strategy_id)


async def unpublish_strategy(database: Database, user_id: int, strategy_id: UUID) -> StrategyRow:
    """Copies that others took stay theirs. Twice is once."""
    async with database.tenant(user_id) as connection:
        found = await get_own(connection, user_id, strategy_id, lock="UPDATE")
        if found.published_strategy_id is None:
            return found
        await published.withdraw_published(connection, found.published_strategy_id)
        await strategies.set_publication(connection, user_id, strategy_id, None, None)
        return await get_own(connection, user_id, strategy_id)


async def take_over_strategy(
    database: Database, user_id: int, published_id: UUID, strategy_name: str | None
) -> StrategyRow:
    """A copy of one's own, with the same content."""
    found = await get_published(database, user_id, published_id)
    return await keep_strategy(database, user_id, read_document(found.document, parse_stored), strategy_name)


async def get_published(database: Database, user_id: int, published_id: UUID) -> PublishedRow:
    """Raises NotFound."""
    async with database.tenant(user_id) as connection:
        found = await published.get_published(connection, published_id)
    if found is None:
        raise NotFound
    return found
