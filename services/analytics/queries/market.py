"""What is watched, and the analyses of closed candles."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.analytics.domain.analysis import AnalysisData, Look, Watch
from shared.chassis.postgres import Connection


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


@dataclass(frozen=True)
class Seen:
    """One analysis to be written: who watched what, and how it looked."""

    watch: Watch
    timestamp: datetime
    look: Look
    data: AnalysisData


WATCH_COLUMNS = ", ".join(WatchRow.__dataclass_fields__)
ANALYSIS_COLUMNS = ", ".join(AnalysisRow.__dataclass_fields__)


LIST_ANALYSES = f"""
    SELECT {ANALYSIS_COLUMNS} FROM user_market_analysis
    WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::text IS NULL OR interval = $3)
          AND ($4::timestamptz IS NULL OR timestamp >= $4) AND ($5::timestamptz IS NULL OR timestamp <= $5)
          AND ($6::timestamptz IS NULL OR (timestamp, watch_id) > ($6, $7))
    ORDER BY timestamp, watch_id LIMIT $8
"""


async def count_watches(connection: Connection, user_id: int) -> int:
    count: int = await connection.fetchval("SELECT count(*) FROM watchlist WHERE user_id = $1", user_id)
    return count


async def insert_watch(
    connection: Connection, user_id: int, watch_id: UUID, symbol: str, interval: str, ema_period: int
) -> WatchRow | None:
    """None if it is watched already."""
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


async def insert_interest(connection: Connection, user_id: int, watch_id: UUID, symbol: str, interval: str) -> None:
    await connection.execute(
        "INSERT INTO market_interests (user_id, object_id, symbol, interval) VALUES ($1, $2, $3, $4)",
        user_id,
        watch_id,
        symbol,
        interval,
    )


async def list_watches(connection: Connection, user_id: int, after: UUID | None, limit: int) -> list[WatchRow]:
    rows = await connection.fetch(
        f"""
        SELECT {WATCH_COLUMNS} FROM watchlist
        WHERE user_id = $1 AND ($2::uuid IS NULL OR watch_id > $2) ORDER BY watch_id LIMIT $3
        """,
        user_id,
        after,
        limit,
    )
    return [WatchRow(**row) for row in rows]


async def delete_watch(connection: Connection, user_id: int, watch_id: UUID) -> bool:
    """With its interest; whether it was there."""
    await connection.execute(
        "DELETE FROM market_interests WHERE user_id = $1 AND object_id = $2", user_id, watch_id
    )
    done = await connection.fetchval(
        "DELETE FROM watchlist WHERE user_id = $1 AND watch_id = $2 RETURNING true", user_id, watch_id
    )
    return bool(done)


async def find_watchers(connection: Connection, symbol: str, interval: str) -> list[int]:
    """Across tenants, as the queue role: ids only, ascending."""
    rows = await connection.fetch(
        "SELECT DISTINCT user_id FROM market_interests WHERE symbol = $1 AND interval = $2 ORDER BY user_id",
        symbol,
        interval,
    )
    return [row["user_id"] for row in rows]


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


async def prepare_month(connection: Connection, moment: datetime) -> None:
    """The partition of this moment's month is there."""
    await connection.execute("SELECT prepare_analysis_month($1)", moment)


async def insert_analyses(connection: Connection, symbol: str, interval: str, seen: Sequence[Seen]) -> None:
    """One per watch and candle, however often the candle is heard."""
    await connection.execute(
        """
        INSERT INTO user_market_analysis (symbol, interval, user_id, watch_id, ema_period, timestamp, price,
            ema_value, candles_above_ema, distance_from_ema, trend_direction, volume, analysis_data)
        SELECT $1, $2, user_id, watch_id, ema_period, timestamp, price,
            ema_value, candles_above_ema, distance_from_ema, trend_direction, volume, analysis_data::jsonb
        FROM unnest($3::bigint[], $4::uuid[], $5::integer[], $6::timestamptz[], $7::numeric[], $8::numeric[],
            $9::integer[], $10::numeric[], $11::text[], $12::numeric[], $13::text[]) AS seen(user_id, watch_id,
            ema_period, timestamp, price, ema_value, candles_above_ema, distance_from_ema, trend_direction, volume,
            analysis_data)
        ON CONFLICT DO NOTHING
        """,
        symbol,
        interval,
        [one.watch.user_id for one in seen],
        [one.watch.watch_id for one in seen],
        [one.watch.ema_period for one in seen],
        [one.timestamp for one in seen],
        [one.look.price for one in seen],
        [one.look.ema_value for one in seen],
        [one.look.candles_above_ema for one in seen],
        [one.look.distance_from_ema for one in seen],
        [one.look.trend_direction for one in seen],
        [one.look.volume for one in seen],
        [one.data.model_dump_json() for one in seen],
    )


async def list_analyses(
    connection: Connection,
    user_id: int,
    *,
    symbol: str | None,
    interval: str | None,
    first: datetime | None,
    last: datetime | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[AnalysisRow]:
    rows = await connection.fetch(
        LIST_ANALYSES,
        user_id,
        symbol,
        interval,
        first,
        last,
        *(after or (None, None)),
        limit,
    )
    return [AnalysisRow(**row) for row in rows]
