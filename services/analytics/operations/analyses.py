"""Writes analyses of closed candles for all users who watch their series."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from services.analytics.domain.analysis import CandleAnalysis, ClosedBar, select_missing
from services.analytics.queries import market
from services.analytics.queries.market import NewAnalysis
from shared.chassis.postgres import Database

T = TypeVar("T")

USERS_AT_ONCE = 1_000
ROWS_AT_ONCE = 5_000

Analyse = Callable[[int, int], CandleAnalysis]  # index of the bar, and EMA period


async def write_analyses(
    database: Database,
    watchers: Sequence[int],
    symbol: str,
    interval: str,
    bars: Sequence[ClosedBar],
    analyse: Analyse,
) -> None:
    """Write one analysis per watch and bar; `bars` are of one series. Idempotent."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, symbol, interval)
            new_analyses = [
                NewAnalysis(watch, bar.timestamp, analyse(bar.index, watch.ema_period), bar.data)
                for bar in bars
                for watch in watches
            ]
            for block in _blocks(new_analyses, ROWS_AT_ONCE):
                await market.insert_analyses(connection, symbol, interval, block)


async def write_missing(
    database: Database,
    watchers: Sequence[int],
    symbol: str,
    interval: str,
    bars: Sequence[ClosedBar],
    analyse: Analyse,
) -> None:
    """Write analyses of those of `bars`, ascending, that closed after the last analysis of a watch."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, symbol, interval)
            known = await market.list_last_analysed(connection, watches)
            new_analyses = (
                NewAnalysis(watch, bar.timestamp, analyse(bar.index, watch.ema_period), bar.data)
                for watch in watches
                if watch.watch_id in known
                for bar in select_missing(bars, interval, *known[watch.watch_id])
            )
            while block := list(islice(new_analyses, ROWS_AT_ONCE)):
                await market.insert_analyses(connection, symbol, interval, block)


async def prepare_month(database: Database, moment: datetime) -> None:
    """Create the month's partition, in its own transaction so that writers do not wait for its lock."""
    async with database.tenants(()) as connection:
        await market.prepare_month(connection, moment)


def _blocks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
