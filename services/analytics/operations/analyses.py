"""Writes analyses of closed candles for all users who watch their series."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import TypeVar

from services.analytics.domain.analysis import SeriesAnalysis
from services.analytics.queries import market
from services.analytics.queries.market import NewAnalysis
from shared.chassis.postgres import Database

T = TypeVar("T")

USERS_AT_ONCE = 1_000
ROWS_AT_ONCE = 5_000


async def write_analyses(
    database: Database, watchers: Sequence[int], analysis: SeriesAnalysis, indices: Sequence[int]
) -> None:
    """Write one analysis per watch and bar. Idempotent."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, analysis.symbol, analysis.interval)
            new_analyses = [
                NewAnalysis(watch, analysis.at(index, watch.ema_period)) for index in indices for watch in watches
            ]
            for block in _blocks(new_analyses, ROWS_AT_ONCE):
                await market.insert_analyses(connection, analysis, block)


async def write_missing(
    database: Database, watchers: Sequence[int], analysis: SeriesAnalysis, indices: range
) -> None:
    """Write analyses of those bars that closed after the last analysis of a watch."""
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, analysis.symbol, analysis.interval)
            known = await market.list_last_analysed(connection, watches)
            new_analyses = (
                NewAnalysis(watch, analysis.at(index, watch.ema_period))
                for watch in watches
                if watch.watch_id in known
                for index in analysis.select_missing(indices, *known[watch.watch_id])
            )
            while block := list(islice(new_analyses, ROWS_AT_ONCE)):
                await market.insert_analyses(connection, analysis, block)


async def prepare_month(database: Database, moment: datetime) -> None:
    """Create the month's partition, in its own transaction so that writers do not wait for its lock."""
    async with database.tenants(()) as connection:
        await market.prepare_month(connection, moment)


def _blocks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
