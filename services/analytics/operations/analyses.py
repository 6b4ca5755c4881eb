"""Writes how closed candles look to everybody who watches their series."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from services.analytics.domain.analysis import ClosedBar, Look, missing_of
from services.analytics.queries import market
from services.analytics.queries.market import Seen
from shared.chassis.postgres import Database

T = TypeVar("T")

USERS_AT_ONCE = 1_000
ROWS_AT_ONCE = 5_000

Looking = Callable[[int, int], Look]  # index of the bar, and EMA period


async def write_analyses(
    database: Database,
    watchers: Sequence[int],
    symbol: str,
    interval: str,
    bars: Sequence[ClosedBar],
    look: Looking,
) -> None:
    """`bars` are of one series. A row per watch and candle, once, however often this is done."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, symbol, interval)
            seen = [
                Seen(watch, bar.timestamp, look(bar.index, watch.ema_period), bar.data)
                for bar in bars
                for watch in watches
            ]
            for block in _blocks(seen, ROWS_AT_ONCE):
                await market.insert_analyses(connection, symbol, interval, block)


async def write_missing(
    database: Database,
    watchers: Sequence[int],
    symbol: str,
    interval: str,
    bars: Sequence[ClosedBar],
    look: Looking,
) -> None:
    """Of `bars`, ascending, those that were closed since a watch last saw one."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, symbol, interval)
            known = await market.list_last_seen(connection, watches)
            seen = (
                Seen(watch, bar.timestamp, look(bar.index, watch.ema_period), bar.data)
                for watch in watches
                if watch.watch_id in known
                for bar in missing_of(bars, interval, *known[watch.watch_id])
            )
            while block := list(islice(seen, ROWS_AT_ONCE)):
                await market.insert_analyses(connection, symbol, interval, block)


async def prepare_month(database: Database, moment: datetime) -> None:
    """Apart from what is written to it, so that nobody waits for the lock."""
    async with database.tenants(()) as connection:
        await market.prepare_month(connection, moment)


def _blocks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
