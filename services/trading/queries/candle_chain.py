"""Stored candles as a chain: each names the bar before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.trading.bybit_api import VENUE
from shared.chassis.postgres import Connection
from shared.strategy.bars import Bar


@dataclass(frozen=True)
class StoredSpan:
    """A generation of a series, from its anchor to its last stored bar."""

    series_id: int
    generation: int
    first: datetime
    last: datetime
    bars: int


async def list_spans(connection: Connection, symbol: str, interval: str) -> list[StoredSpan]:
    """List the generations that hold bars, oldest first."""
    rows = await connection.fetch(
        """
        SELECT series_id, generation, least(anchor, min(open_time)) AS first, max(open_time) AS last,
               count(*) AS bars
        FROM series JOIN candles USING (series_id)
        WHERE venue = $1 AND symbol = $2 AND interval = $3
        GROUP BY series_id ORDER BY generation
        """,
        VENUE,
        symbol,
        interval,
    )
    return [StoredSpan(**row) for row in rows]


async def list_unlinked(connection: Connection, series_id: int, first: datetime, last: datetime) -> list[datetime]:
    """List the bars from `first` to `last`, both included, that do not name the bar stored before them."""
    rows = await connection.fetch(
        """
        SELECT open_time FROM (
            SELECT open_time, previous_open_time,
                   (SELECT max(b.open_time) FROM candles b
                    WHERE b.series_id = c.series_id AND b.open_time < c.open_time) AS before
            FROM candles c WHERE series_id = $1 AND open_time BETWEEN $2 AND $3
        ) AS linked
        WHERE before IS NOT NULL AND previous_open_time IS DISTINCT FROM before ORDER BY open_time
        """,
        series_id,
        first,
        last,
    )
    return [row["open_time"] for row in rows]


async def find_break(
    connection: Connection, series_id: int, after: datetime | None
) -> tuple[datetime, datetime] | None:
    """Find the first gap from `after` on: a stored bar whose named predecessor is not stored.

    Returns the open times of the bars before and after the gap.
    """
    row = await connection.fetchrow(
        """
        SELECT before, open_time FROM (
            SELECT open_time, previous_open_time, lag(open_time) OVER (ORDER BY open_time) AS before
            FROM candles WHERE series_id = $1 AND ($2::timestamptz IS NULL OR open_time >= $2)
        ) AS linked
        WHERE previous_open_time > before
        ORDER BY open_time LIMIT 1
        """,
        series_id,
        after,
    )
    return (row["before"], row["open_time"]) if row else None


async def insert_missing(connection: Connection, series_id: int, bars: Sequence[Bar]) -> int:
    """Insert lost bars; returns how many were new. They are not published: consumers read them from here."""
    rows = await connection.fetch(
        """
        INSERT INTO candles (series_id, open_time, open, high, low, close, volume, origin)
        SELECT $1, t, o, h, l, c, v, 'HISTORY' FROM unnest($2::timestamptz[], $3::numeric[], $4::numeric[],
               $5::numeric[], $6::numeric[], $7::numeric[]) AS bar (t, o, h, l, c, v)
        ON CONFLICT DO NOTHING RETURNING 1
        """,
        series_id,
        [bar.open_time for bar in bars],
        [bar.open for bar in bars],
        [bar.high for bar in bars],
        [bar.low for bar in bars],
        [bar.close for bar in bars],
        [bar.volume for bar in bars],
    )
    return len(rows)


async def relink(connection: Connection, series_id: int, first: datetime, last: datetime) -> None:
    """Set the predecessor of each bar from `first` to `last`, and of the next one, to the bar stored before it."""
    await connection.execute(
        """
        UPDATE candles AS c SET previous_open_time = linked.before
        FROM (
            SELECT open_time, lag(open_time) OVER (ORDER BY open_time) AS before FROM candles
            WHERE series_id = $1
                  AND open_time >= coalesce((SELECT max(open_time) FROM candles
                                             WHERE series_id = $1 AND open_time < $2), $2)
                  AND open_time <= coalesce((SELECT min(open_time) FROM candles
                                             WHERE series_id = $1 AND open_time > $3), $3)
        ) AS linked
        WHERE c.series_id = $1 AND c.open_time = linked.open_time AND linked.before IS NOT NULL
              AND c.previous_open_time IS DISTINCT FROM linked.before
        """,
        series_id,
        first,
        last,
    )
