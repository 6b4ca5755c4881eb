"""What analytics does; days are cut anew from the facts, so that no order of events matters."""

from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg

from services.analytics import queries
from services.analytics.domain import cut_days
from services.analytics.errors import AlreadyWatched
from services.analytics.queries import Subject, WatchRow
from shared.chassis.errors import NotFound
from shared.chassis.postgres import Database
from shared.contracts.types import new_id

AT_ONCE = 100


async def rebuild_stale_days(database: Database) -> int:
    """Cut the days of everybody whose facts have changed; how many."""
    async with database.queue() as connection:
        stale = await queries.list_stale(connection, AT_ONCE)
    for subject in stale:
        await rebuild_days(database, subject)
    return len(stale)


async def rebuild_days(database: Database, subject: Subject) -> None:
    """The days of one user and mode, from the facts alone."""
    user_id, mode = subject
    async with database.tenants([user_id]) as connection:
        await queries.take_stale(connection, user_id, mode)
        zone = await queries.get_zone(connection, user_id)
        trades = await queries.list_trade_facts(connection, user_id, mode)
        sessions = await queries.list_session_facts(connection, user_id, mode)
        await queries.replace_days(connection, user_id, mode, zone, cut_days(trades, sessions, ZoneInfo(zone)))


async def watch(database: Database, user_id: int, symbol: str, interval: str, ema_period: int) -> WatchRow:
    try:
        async with database.tenant(user_id) as connection:
            return await queries.insert_watch(connection, user_id, new_id(), symbol, interval, ema_period)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyWatched(f"{symbol} {interval} with period {ema_period} is watched already") from error


async def unwatch(database: Database, user_id: int, watch_id: UUID) -> None:
    async with database.tenant(user_id) as connection:
        if not await queries.delete_watch(connection, user_id, watch_id):
            raise NotFound
