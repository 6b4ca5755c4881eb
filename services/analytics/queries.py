"""All SQL of analytics."""

from collections.abc import Collection, Sequence
from dataclasses import astuple, dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from services.analytics.domain import Day, SessionFact, TradeFact
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.trading import SessionStarted, SessionStopped, TradeClosed

Subject = tuple[int, str]  # user and mode


@dataclass(frozen=True)
class DayRow:
    date: date
    timezone: str
    starting_balance: Decimal
    ending_balance: Decimal
    daily_pnl: Decimal
    daily_pnl_percentage: Decimal | None
    total_trades: int
    winning_trades: int
    losing_trades: int
    win_rate: Decimal | None
    max_drawdown: Decimal | None
    sharpe_ratio: Decimal | None
    volatility: Decimal | None


DAY_COLUMNS = ", ".join(field.name for field in fields(DayRow))


async def upsert_zones(connection: Connection, events: Sequence[UserRegistered]) -> None:
    latest = {event.user_id: event.timezone for event in events}
    await connection.execute(
        """
        INSERT INTO user_zones (user_id, timezone) SELECT * FROM unnest($1::bigint[], $2::text[])
        ON CONFLICT (user_id) DO UPDATE SET timezone = excluded.timezone
        """,
        list(latest),
        list(latest.values()),
    )


async def insert_trades(connection: Connection, events: Sequence[TradeClosed]) -> set[Subject]:
    """A trade is a fact once, whatever comes again; whose days it touches."""
    rows = await connection.fetch(
        """
        INSERT INTO trade_facts (user_id, trade_id, session_id, mode, symbol, side, strategy_id, strategy_name,
                                 entry_time, exit_time, pnl, fee, reason)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[], $7::uuid[],
                             $8::text[], $9::timestamptz[], $10::timestamptz[], $11::numeric[], $12::numeric[],
                             $13::text[])
        ON CONFLICT DO NOTHING RETURNING user_id, mode
        """,
        [event.user_id for event in events],
        [event.trade_id for event in events],
        [event.session_id for event in events],
        ["PAPER" if event.is_paper_trade else "LIVE" for event in events],
        [event.symbol for event in events],
        [event.side for event in events],
        [event.strategy_id for event in events],
        [event.strategy_name for event in events],
        [event.entry_time for event in events],
        [event.exit_time for event in events],
        [event.pnl for event in events],
        [event.fee for event in events],
        [event.reason for event in events],
    )
    return {(row["user_id"], row["mode"]) for row in rows}


async def upsert_started(connection: Connection, events: Sequence[SessionStarted]) -> set[Subject]:
    await connection.execute(
        """
        INSERT INTO session_facts (user_id, session_id, mode, symbol, initial_balance, started_at)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::timestamptz[])
        ON CONFLICT (user_id, session_id) DO UPDATE SET started_at = excluded.started_at
        """,
        [event.user_id for event in events],
        [event.session_id for event in events],
        [event.mode for event in events],
        [event.symbol for event in events],
        [event.initial_balance for event in events],
        [event.started_at for event in events],
    )
    return {(event.user_id, event.mode) for event in events}


async def upsert_stopped(connection: Connection, events: Sequence[SessionStopped]) -> None:
    await connection.execute(
        """
        INSERT INTO session_facts (user_id, session_id, mode, symbol, initial_balance, stopped_at)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::text[], $5::numeric[], $6::timestamptz[])
        ON CONFLICT (user_id, session_id) DO UPDATE SET stopped_at = excluded.stopped_at
        """,
        [event.user_id for event in events],
        [event.session_id for event in events],
        [event.mode for event in events],
        [event.symbol for event in events],
        [event.initial_balance for event in events],
        [event.stopped_at for event in events],
    )


async def mark_stale(connection: Connection, subjects: Collection[Subject]) -> None:
    await connection.execute(
        """
        INSERT INTO stale_days (user_id, mode) SELECT * FROM unnest($1::bigint[], $2::text[])
        ON CONFLICT DO NOTHING
        """,
        [user_id for user_id, _ in sorted(subjects)],
        [mode for _, mode in sorted(subjects)],
    )


async def list_stale(connection: Connection, limit: int) -> list[Subject]:
    """Across tenants, as the queue role: ids only."""
    rows = await connection.fetch("SELECT user_id, mode FROM stale_days ORDER BY since LIMIT $1", limit)
    return [(row["user_id"], row["mode"]) for row in rows]


async def take_stale(connection: Connection, user_id: int, mode: str) -> bool:
    """Removed by whoever cuts the days; facts that come meanwhile mark them again."""
    done = await connection.fetchval(
        "DELETE FROM stale_days WHERE user_id = $1 AND mode = $2 RETURNING true", user_id, mode
    )
    return bool(done)


async def get_zone(connection: Connection, user_id: int) -> str:
    """UTC for one whose registration is still to be heard of."""
    zone: str | None = await connection.fetchval("SELECT timezone FROM user_zones WHERE user_id = $1", user_id)
    return zone or "UTC"


async def list_trade_facts(
    connection: Connection,
    user_id: int,
    mode: str,
    first: datetime | None = None,
    last: datetime | None = None,
) -> list[TradeFact]:
    rows = await connection.fetch(
        """
        SELECT trade_id, session_id, symbol, strategy_name, exit_time, pnl, fee FROM trade_facts
        WHERE user_id = $1 AND mode = $2 AND ($3::timestamptz IS NULL OR exit_time >= $3)
              AND ($4::timestamptz IS NULL OR exit_time <= $4)
        ORDER BY exit_time, trade_id
        """,
        user_id,
        mode,
        first,
        last,
    )
    return [TradeFact(**row) for row in rows]


async def list_session_facts(connection: Connection, user_id: int, mode: str) -> list[SessionFact]:
    rows = await connection.fetch(
        """
        SELECT session_id, initial_balance, started_at FROM session_facts WHERE user_id = $1 AND mode = $2
        """,
        user_id,
        mode,
    )
    return [SessionFact(**row) for row in rows]


async def replace_days(connection: Connection, user_id: int, mode: str, timezone: str, days: Sequence[Day]) -> None:
    """The days as the facts now give them; unchanged rows stay untouched."""
    await connection.execute(
        """
        DELETE FROM user_daily_performance WHERE user_id = $1 AND mode = $2 AND date <> ALL ($3::date[])
        """,
        user_id,
        mode,
        [day.date for day in days],
    )
    names = [field.name for field in fields(Day)]
    assert names == [field.name for field in fields(DayRow) if field.name != "timezone"], "the same columns"
    columns = [[getattr(day, name) for day in days] for name in names]
    await connection.execute(
        """
        INSERT INTO user_daily_performance AS old (user_id, mode, timezone, date, starting_balance, ending_balance,
            daily_pnl, daily_pnl_percentage, total_trades, winning_trades, losing_trades, win_rate, max_drawdown,
            sharpe_ratio, volatility)
        SELECT $1, $2, $3, day.* FROM unnest($4::date[], $5::numeric[], $6::numeric[], $7::numeric[], $8::numeric[],
            $9::integer[], $10::integer[], $11::integer[], $12::numeric[], $13::numeric[], $14::numeric[],
            $15::numeric[]) AS day
        ON CONFLICT (user_id, mode, date) DO UPDATE SET
            timezone = excluded.timezone, starting_balance = excluded.starting_balance,
            ending_balance = excluded.ending_balance, daily_pnl = excluded.daily_pnl,
            daily_pnl_percentage = excluded.daily_pnl_percentage, total_trades = excluded.total_trades,
            winning_trades = excluded.winning_trades, losing_trades = excluded.losing_trades,
            win_rate = excluded.win_rate, max_drawdown = excluded.max_drawdown,
            sharpe_ratio = excluded.sharpe_ratio, volatility = excluded.volatility
        WHERE (old.timezone, old.starting_balance, old.daily_pnl, old.total_trades, old.sharpe_ratio,
               old.volatility) IS DISTINCT FROM (excluded.timezone, excluded.starting_balance, excluded.daily_pnl,
                                excluded.total_trades, excluded.sharpe_ratio, excluded.volatility)
        """,
        user_id,
        mode,
        timezone,
        *columns,
    )


async def list_days(
    connection: Connection,
    user_id: int,
    mode: str,
    first: date | None,
    last: date | None,
    after: date | None,
    limit: int,
) -> list[DayRow]:
    rows = await connection.fetch(
        f"""
        SELECT {DAY_COLUMNS} FROM user_daily_performance
        WHERE user_id = $1 AND mode = $2 AND ($3::date IS NULL OR date >= $3) AND ($4::date IS NULL OR date <= $4)
              AND ($5::date IS NULL OR date > $5)
        ORDER BY date LIMIT $6
        """,
        user_id,
        mode,
        first,
        last,
        after,
        limit,
    )
    return [DayRow(**row) for row in rows]


@dataclass(frozen=True)
class WatchRow:
    watch_id: UUID
    symbol: str
    interval: str
    ema_period: int
    created_at: datetime


@dataclass(frozen=True)
class Watch:
    """A watch as the evaluator sees it, over all users."""

    user_id: int
    watch_id: UUID
    ema_period: int


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


ANALYSIS_COLUMNS = ", ".join(field.name for field in fields(AnalysisRow))


async def insert_watch(
    connection: Connection, user_id: int, watch_id: UUID, symbol: str, interval: str, ema_period: int
) -> WatchRow:
    await connection.execute(
        "INSERT INTO market_interests (user_id, object_id, symbol, interval) VALUES ($1, $2, $3, $4)",
        user_id,
        watch_id,
        symbol,
        interval,
    )
    row = await connection.fetchrow(
        """
        INSERT INTO watchlist (user_id, watch_id, symbol, interval, ema_period) VALUES ($1, $2, $3, $4, $5)
        RETURNING watch_id, symbol, interval, ema_period, created_at
        """,
        user_id,
        watch_id,
        symbol,
        interval,
        ema_period,
    )
    return WatchRow(**row)


async def list_watches(connection: Connection, user_id: int, after: UUID | None, limit: int) -> list[WatchRow]:
    rows = await connection.fetch(
        """
        SELECT watch_id, symbol, interval, ema_period, created_at FROM watchlist
        WHERE user_id = $1 AND ($2::uuid IS NULL OR watch_id > $2) ORDER BY watch_id LIMIT $3
        """,
        user_id,
        after,
        limit,
    )
    return [WatchRow(**row) for row in rows]


async def delete_watch(connection: Connection, user_id: int, watch_id: UUID) -> bool:
    await connection.execute(
        "DELETE FROM market_interests WHERE user_id = $1 AND object_id = $2", user_id, watch_id
    )
    done = await connection.fetchval(
        "DELETE FROM watchlist WHERE user_id = $1 AND watch_id = $2 RETURNING true", user_id, watch_id
    )
    return bool(done)


async def find_watchers(connection: Connection, symbol: str, interval: str) -> set[int]:
    """Across tenants, as the queue role: ids only."""
    rows = await connection.fetch(
        "SELECT DISTINCT user_id FROM market_interests WHERE symbol = $1 AND interval = $2", symbol, interval
    )
    return {row["user_id"] for row in rows}


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


async def insert_analyses(connection: Connection, users: Sequence[int], analyses: Sequence[AnalysisRow]) -> None:
    """One per watch and candle, however often the candle is heard."""
    columns = list(zip(*(astuple(analysis) for analysis in analyses), strict=True))
    await connection.execute(
        f"""
        INSERT INTO user_market_analysis (user_id, {ANALYSIS_COLUMNS})
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[], $6::numeric[],
                             $7::numeric[], $8::integer[], $9::integer[], $10::numeric[], $11::text[],
                             $12::numeric[])
        ON CONFLICT DO NOTHING
        """,
        users,
        *(list(column) for column in columns),
    )


async def list_analyses(
    connection: Connection,
    user_id: int,
    *,
    symbol: str | None,
    first: datetime | None,
    last: datetime | None,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[AnalysisRow]:
    rows = await connection.fetch(
        f"""
        SELECT {ANALYSIS_COLUMNS} FROM user_market_analysis
        WHERE user_id = $1 AND ($2::text IS NULL OR symbol = $2) AND ($3::timestamptz IS NULL OR timestamp >= $3)
              AND ($4::timestamptz IS NULL OR timestamp <= $4)
              AND ($5::timestamptz IS NULL OR (timestamp, watch_id) > ($5, $6))
        ORDER BY timestamp, watch_id LIMIT $7
        """,
        user_id,
        symbol,
        first,
        last,
        *(after or (None, None)),
        limit,
    )
    return [AnalysisRow(**row) for row in rows]
