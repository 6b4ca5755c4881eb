"""Watches, and analyses of closed candles."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.analytics.domain.analysis import AnalysisData, CandleAnalysis, SeriesAnalysis, Watch
from services.analytics.domain.analysis_ids import analysis_id
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.types import EARLIEST, LATEST


@dataclass(frozen=True)
class WatchRow:
    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: datetime


@dataclass(frozen=True)
class AnalysisRow:
    watch_id: UUID
    timestamp: datetime
    symbol: str
    interval: str
    price: Decimal
    ema_value: Decimal | None
    ema_period: int
    candles_above_ema: int | None
    distance_from_ema: Decimal | None
    trend_direction: str | None
    volume: Decimal
    analysis_data: dict[str, object]
    user_notes: str | None
    is_watchlist: bool
    version: int

    @property
    def analysis_id(self) -> UUID:
        return analysis_id(self.watch_id, self.timestamp)


@dataclass(frozen=True)
class NewAnalysis:
    """An analysis to be written."""

    watch: Watch
    analysis: CandleAnalysis


WATCH_COLUMNS = ", ".join(WatchRow.__dataclass_fields__)
# True if the watch is on the list now. The table's column of this name tells whether it was when the candle closed.
ON_LIST = """
    EXISTS (SELECT FROM watchlist w WHERE w.user_id = a.user_id AND w.watch_id = a.watch_id) AS is_watchlist
"""
ANALYSIS_COLUMNS = ", ".join(
    ON_LIST if name == "is_watchlist" else f"a.{name}" for name in AnalysisRow.__dataclass_fields__
)


ANALYSIS_ORDERS = {"open_time": Order(timestamp=datetime, watch_id=UUID)}
WATCH_ORDERS = {"created_at": Order(watch_id=UUID)}  # ids are UUIDv7, so they sort by creation time


async def count_watches(connection: Connection, user_id: int) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM watchlist WHERE user_id = $1", user_id)
    return count


async def insert_watch(
    connection: Connection, user_id: int, watch_id: UUID, symbol: str, interval: str, ema_period: int
) -> WatchRow | None:
    """Insert a watch; returns None if the same watch exists."""
    row = await connection.fetchrow(
        f"""
        INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT DO NOTHING RETURNING {WATCH_COLUMNS}
        """,
        user_id,
        watch_id,
        symbol,
        interval,
        ema_period,
    )
    return WatchRow(**row) if row else None


async def list_watches(
    connection: Connection,
    user_id: int,
    *,
    symbol: str | None,
    interval: str | None,
    wanted: Slice,
) -> list[WatchRow]:
    rows = await connection.fetch(
        f"""
        SELECT {WATCH_COLUMNS} FROM watchlist
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR interval = $3)
              {wanted.sql(4)}
        """,
        user_id,
        symbol,
        interval,
        *wanted.arguments,
    )
    return [WatchRow(**row) for row in rows]


async def find_watch(connection: Connection, user_id: int, watch_id: UUID) -> WatchRow | None:
    row = await connection.fetchrow(
        f"SELECT {WATCH_COLUMNS} FROM watchlist WHERE user_id = $1 AND watch_id = $2", user_id, watch_id
    )
    return WatchRow(**row) if row else None


async def delete_watch(connection: Connection, user_id: int, watch_id: UUID) -> bool:
    """Delete a watch. Returns whether it existed."""
    done = await connection.fetchval(
        "DELETE FROM watchlist WHERE user_id = $1 AND watch_id = $2 RETURNING true", user_id, watch_id
    )
    return bool(done)


async def list_watches_of_series(
    connection: Connection, users: Collection[int], symbol: str, interval: str
) -> list[Watch]:
    rows = await connection.fetch(
        """
        SELECT user_id, watch_id, ema_period FROM watchlist
        WHERE user_id = ANY ($1::bigint[]) AND symbol = $2 AND interval = $3
        """,
        list(users),
        symbol,
        interval,
    )
    return [Watch(**row) for row in rows]


async def list_last_analysed(
    connection: Connection, watches: Collection[Watch]
) -> dict[UUID, tuple[datetime, datetime | None]]:
    """Return for each watch its creation time and the time of its last analysis."""
    rows = await connection.fetch(
        """
        SELECT watch_id, created_at, (SELECT max(timestamp) FROM user_market_analysis a
                                      WHERE a.user_id = w.user_id AND a.watch_id = w.watch_id) AS last
        FROM unnest($1::bigint[], $2::uuid[]) AS k(u, i) JOIN watchlist w ON w.user_id = k.u AND w.watch_id = k.i
        """,
        [watch.user_id for watch in watches],
        [watch.watch_id for watch in watches],
    )
    return {row["watch_id"]: (row["created_at"], row["last"]) for row in rows}


async def prepare_month(connection: Connection, moment: datetime) -> None:
    """Create the partition of this time's month if it is missing."""
    await connection.execute("SELECT prepare_analysis_month($1)", moment)


async def insert_analyses(connection: Connection, series: SeriesAnalysis, analyses: Sequence[NewAnalysis]) -> None:
    """Insert analyses; one that exists for the watch and candle is left as it is."""
    data = {
        bar: AnalysisData(series=series.name, open=bar.open, high=bar.high, low=bar.low).model_dump(mode="json")
        for bar in {one.analysis.bar for one in analyses}
    }
    await connection.execute(
        """
        INSERT INTO user_market_analysis (symbol, interval, user_id, watch_id, ema_period, timestamp, price,
            ema_value, candles_above_ema, distance_from_ema, trend_direction, volume, analysis_data)
        SELECT $1, $2, user_id, watch_id, ema_period, timestamp, price,
            ema_value, candles_above_ema, distance_from_ema, trend_direction, volume, analysis_data
        FROM unnest($3::bigint[], $4::uuid[], $5::integer[], $6::timestamptz[], $7::numeric[], $8::numeric[],
            $9::integer[], $10::numeric[], $11::text[], $12::numeric[], $13::jsonb[]) AS seen(user_id, watch_id,
            ema_period, timestamp, price, ema_value, candles_above_ema, distance_from_ema, trend_direction, volume,
            analysis_data)
        ON CONFLICT DO NOTHING
        """,
        series.symbol,
        series.interval,
        [one.watch.user_id for one in analyses],
        [one.watch.watch_id for one in analyses],
        [one.watch.ema_period for one in analyses],
        [one.analysis.bar.open_time for one in analyses],
        [one.analysis.bar.close for one in analyses],
        [one.analysis.ema_value for one in analyses],
        [one.analysis.candles_above_ema for one in analyses],
        [one.analysis.distance_from_ema for one in analyses],
        [one.analysis.trend_direction for one in analyses],
        [one.analysis.bar.volume for one in analyses],
        [data[one.analysis.bar] for one in analyses],
    )


async def list_analyses(
    connection: Connection,
    user_id: int,
    *,
    symbol: str | None,
    interval: str | None,
    watch_id: UUID | None,
    is_watchlist: bool | None,
    first: datetime | None,
    last: datetime | None,
    wanted: Slice,
) -> list[AnalysisRow]:
    """List analyses from `first` (inclusive) to `last` (exclusive)."""
    rows = await connection.fetch(
        f"""
        SELECT {ANALYSIS_COLUMNS} FROM user_market_analysis a
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR interval = $3)
              AND ($4::uuid IS NULL OR watch_id = $4)
              AND ($5::boolean IS NULL OR $5 = EXISTS (SELECT FROM watchlist w WHERE w.user_id = a.user_id
                                                       AND w.watch_id = a.watch_id))
              AND timestamp >= $6 AND timestamp < $7 {wanted.sql(8)}
        """,
        user_id,
        symbol,
        interval,
        watch_id,
        is_watchlist,
        first or EARLIEST,
        last or LATEST,
        *wanted.arguments,
    )
    return [AnalysisRow(**row) for row in rows]


async def list_analyses_at(
    connection: Connection, user_id: int, moment: datetime, *, lock: bool
) -> list[AnalysisRow]:
    """List a user's analyses of one candle time: at most one per watch."""
    rows = await connection.fetch(
        f"""
        SELECT {ANALYSIS_COLUMNS} FROM user_market_analysis a WHERE user_id = $1 AND timestamp = $2
        ORDER BY watch_id {"FOR UPDATE OF a" if lock else ""}
        """,
        user_id,
        moment,
    )
    return [AnalysisRow(**row) for row in rows]


async def update_notes(
    connection: Connection, user_id: int, watch_id: UUID, timestamp: datetime, notes: str | None
) -> None:
    await connection.execute(
        """
        UPDATE user_market_analysis SET user_notes = $4, version = version + 1
        WHERE user_id = $1 AND watch_id = $2 AND timestamp = $3
        """,
        user_id,
        watch_id,
        timestamp,
        notes,
    )
