"""All SQL of the feed. It runs as trading_worker with no tenant set, so it sees no tenant's rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import asyncpg

from services.trading.bybit_api import VENUE
from services.trading.queries.candles import SERIES_COLUMNS, SeriesRow, to_bar
from shared.chassis.postgres import Connection
from shared.strategy.bars import Bar

LEASE = timedelta(seconds=5)


@dataclass(frozen=True)
class StoredCandle:
    """A confirmed bar, and the open time of the bar before it."""

    bar: Bar
    previous_open_time: datetime | None


async def take_lease(connection: Connection, holder: str) -> bool:
    """Take or renew the lease for `LEASE`. Returns whether this feed holds it."""
    row = await connection.fetchval(
        """
        INSERT INTO feed_lease (holder, expires_at) VALUES ($1, now() + $2)
        ON CONFLICT (only_row) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
        WHERE feed_lease.holder = excluded.holder OR feed_lease.expires_at < now()
        RETURNING holder
        """,
        holder,
        LEASE,
    )
    return row is not None


async def release_lease(connection: Connection, holder: str) -> None:
    await connection.execute("UPDATE feed_lease SET expires_at = now() WHERE holder = $1", holder)


async def get_or_create_generations(connection: Connection, symbol: str, interval: str) -> list[SeriesRow]:
    """Return the generations of the series, oldest first; create the first one if there is none."""
    await connection.execute(
        "INSERT INTO series (venue, symbol, interval) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        VENUE,
        symbol,
        interval,
    )
    rows = await connection.fetch(
        f"""
        SELECT {SERIES_COLUMNS} FROM series
        WHERE venue = $1 AND symbol = $2 AND interval = $3 ORDER BY generation
        """,
        VENUE,
        symbol,
        interval,
    )
    return [SeriesRow(**row) for row in rows]


async def open_generation(
    connection: Connection, after: SeriesRow, older: Sequence[StoredCandle], until: datetime, reach: int
) -> None:
    """Insert the generation that follows `after`: the `older` bars, then the bars of `after` up to `until`.

    None of these bars is published for it. Does nothing if another feed has inserted the generation already.
    """
    series_id = await connection.fetchval(
        """
        INSERT INTO series (venue, symbol, interval, generation, reach, opened_time, opened_price)
        SELECT venue, symbol, interval, generation + 1, $2, opened_time, opened_price FROM series
        WHERE series_id = $1 ON CONFLICT DO NOTHING RETURNING series_id
        """,
        after.series_id,
        reach,
    )
    if series_id is None:
        return
    await insert_candles(connection, series_id, older, "HISTORY")
    await connection.execute(
        """
        INSERT INTO candles (series_id, open_time, previous_open_time, open, high, low, close, volume, origin)
        SELECT $1, open_time, coalesce(previous_open_time, $3), open, high, low, close, volume, 'HISTORY'
        FROM candles WHERE series_id = $2 AND open_time <= $4
        """,
        series_id,
        after.series_id,
        older[-1].bar.open_time,
        until,
    )


async def set_reach(connection: Connection, series_id: int, reach: int) -> None:
    await connection.execute("UPDATE series SET reach = greatest(reach, $2) WHERE series_id = $1", series_id, reach)


async def count_candles(connection: Connection, series_id: int) -> int:
    held: int = await connection.fetchval("SELECT count(*) FROM candles WHERE series_id = $1", series_id)
    return held


async def copy_missing(connection: Connection, source: SeriesRow, target: SeriesRow) -> None:
    """Append to `target` the later bars that only `source` has; they are yet to be published for `target`."""
    await connection.execute(
        """
        INSERT INTO candles (series_id, open_time, previous_open_time, open, high, low, close, volume, origin)
        SELECT $2, open_time, previous_open_time, open, high, low, close, volume, 'STREAM' FROM candles
        WHERE series_id = $1 AND open_time > (SELECT max(open_time) FROM candles WHERE series_id = $2)
        ON CONFLICT DO NOTHING
        """,
        source.series_id,
        target.series_id,
    )


async def insert_candles(
    connection: Connection, series_id: int, candles: Sequence[StoredCandle], origin: str
) -> list[StoredCandle]:
    """Insert bars and return them as they are stored. The first one becomes the anchor of a new series.

    A stored bar is left as it is: a confirmed bar never changes.
    """
    open_times = [candle.bar.open_time for candle in candles]
    inserted = await connection.fetch(
        """
        WITH anchored AS (UPDATE series SET anchor = $10 WHERE series_id = $1 AND anchor IS NULL)
        INSERT INTO candles (series_id, open_time, previous_open_time, open, high, low, close, volume, origin)
        SELECT $1, t, p, o, h, l, c, v, $9 FROM unnest($2::timestamptz[], $3::timestamptz[], $4::numeric[],
               $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[]) AS bar (t, p, o, h, l, c, v)
        ON CONFLICT DO NOTHING RETURNING open_time
        """,
        series_id,
        open_times,
        [candle.previous_open_time for candle in candles],
        *_columns(candles),
        origin,
        open_times[0],
    )
    if len(inserted) == len(candles):
        return list(candles)
    rows = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume, previous_open_time FROM candles
        WHERE series_id = $1 AND open_time = ANY ($2::timestamptz[]) ORDER BY open_time
        """,
        series_id,
        open_times,
    )
    return [_stored(row) for row in rows]


def _columns(candles: Sequence[StoredCandle]) -> list[list[Decimal]]:
    names = ("open", "high", "low", "close", "volume")
    return [[getattr(candle.bar, name) for candle in candles] for name in names]


async def mark_announced(connection: Connection, series_id: int, open_times: Sequence[datetime]) -> None:
    """Mark bars as published. Commits asynchronously: a mark lost in a crash means that the bar is published again,
    with the same event id."""
    await connection.execute("SET LOCAL synchronous_commit = off")
    await connection.execute(
        """
        UPDATE candles SET announced_at = now()
        WHERE series_id = $1 AND open_time = ANY ($2::timestamptz[]) AND announced_at IS NULL
        """,
        series_id,
        open_times,
    )


async def list_unannounced(connection: Connection, series_id: int) -> list[StoredCandle]:
    """List bars that may not have been published: the feed died between storing and marking them."""
    rows = await connection.fetch(
        """
        SELECT open_time, open, high, low, close, volume, previous_open_time FROM candles
        WHERE series_id = $1 AND announced_at IS NULL AND origin = 'STREAM' ORDER BY open_time
        """,
        series_id,
    )
    return [_stored(row) for row in rows]


async def mark_opened(connection: Connection, series_id: int, bar: Bar) -> None:
    """Record the bar that is open now, never an earlier one. A session stopped during it closes at its open."""
    await connection.execute(
        """
        UPDATE series SET opened_time = $2, opened_price = $3
        WHERE series_id = $1 AND (opened_time IS NULL OR opened_time < $2)
        """,
        series_id,
        bar.open_time,
        bar.open,
    )


def _stored(row: asyncpg.Record) -> StoredCandle:
    return StoredCandle(to_bar(row), row["previous_open_time"])
