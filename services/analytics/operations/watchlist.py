"""Add and remove watches, and their demand for market series in the same transaction."""

from uuid import UUID

from services.analytics.errors import AlreadyWatched, WatchlistFull
from services.analytics.queries import market
from services.analytics.queries.market import WatchRow
from shared.chassis.errors import NotFound
from shared.chassis.postgres import Connection
from shared.contracts.types import new_id
from shared.market.demand import delete_demand, insert_demand

MAX_WATCHES = 200


async def watch(connection: Connection, user_id: int, symbol: str, interval: str, ema_period: int) -> WatchRow:
    """Add a watch. Raises AlreadyWatched, WatchlistFull."""
    if await market.count_watches(connection, user_id) >= MAX_WATCHES:
        raise WatchlistFull(f"a watchlist holds at most {MAX_WATCHES} watches", limit=MAX_WATCHES)
    row = await market.insert_watch(connection, user_id, new_id(), symbol, interval, ema_period)
    if row is None:
        raise AlreadyWatched(f"{symbol} {interval} with period {ema_period} is already on the watchlist")
    await insert_demand(connection, user_id, row.watch_id, symbol, interval)
    return row


async def get_watch(connection: Connection, user_id: int, watch_id: UUID) -> WatchRow:
    """Return one watch. Raises NotFound."""
    row = await market.find_watch(connection, user_id, watch_id)
    if row is None:
        raise NotFound
    return row


async def unwatch(connection: Connection, user_id: int, watch_id: UUID) -> None:
    """Remove a watch; its analyses are kept. Raises NotFound."""
    await delete_demand(connection, user_id, watch_id)
    if not await market.delete_watch(connection, user_id, watch_id):
        raise NotFound
