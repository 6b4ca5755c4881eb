"""Writes how closed candles look to everybody who watches their series."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from services.analytics.domain.analysis import AnalysisData, Look
from services.analytics.queries import market
from services.analytics.queries.market import Seen
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed

T = TypeVar("T")

USERS_AT_ONCE = 1_000
ROWS_AT_ONCE = 5_000

Looking = Callable[[CandleClosed, int], Look]  # candle and EMA period


async def write_analyses(
    database: Database, watchers: Sequence[int], candles: Sequence[CandleClosed], look: Looking
) -> None:
    """`candles` are of one series. A row per watch and candle, once, however often this is done."""
    first = candles[0]
    data = [
        AnalysisData(series=candle.series, open=candle.open, high=candle.high, low=candle.low) for candle in candles
    ]
    for users in _blocks(watchers, USERS_AT_ONCE):
        async with database.tenants(users) as connection:
            watches = await market.list_watches_of_series(connection, users, first.symbol, first.interval)
            seen = [
                Seen(watch, candle.open_time, look(candle, watch.ema_period), of_candle)
                for candle, of_candle in zip(candles, data, strict=True)
                for watch in watches
            ]
            for block in _blocks(seen, ROWS_AT_ONCE):
                await market.insert_analyses(connection, first.symbol, first.interval, block)


async def prepare_month(database: Database, moment: datetime) -> None:
    """Apart from what is written to it, so that nobody waits for the lock."""
    async with database.tenants(()) as connection:
        await market.prepare_month(connection, moment)


def _blocks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
