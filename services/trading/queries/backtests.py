"""Backtests of a tenant, the plan's limits on them, and the candles that they may use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

import asyncpg

from services.trading.backtest_question import BacktestLimits, BacktestStatus, Range
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection, insert_of
from shared.strategy.bars import Instrument, Terms


@dataclass(frozen=True)
class ResultRow:
    result_id: UUID
    fingerprint: str
    final_equity: Decimal
    fills: int
    trades: int
    missing_bars: int
    first_decision: datetime | None
    metrics: Mapping[str, float | None]
    created_at: datetime


@dataclass(frozen=True)
class _Backtest:
    """The columns that a new backtest and a stored one have in common."""

    backtest_id: UUID
    strategy_id: UUID
    strategy_version: int
    strategy_hash: str
    venue: str
    symbol: str
    interval: str
    generation: int
    from_time: datetime
    to_time: datetime
    last_bar: datetime
    bars: int
    status: BacktestStatus
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


@dataclass(frozen=True)
class BacktestRow(_Backtest):
    """`done` is the number of bars processed so far."""

    terms: Terms
    failure_reason: str | None
    done: int
    result: ResultRow | None


@dataclass(frozen=True)
class NewBacktest(_Backtest):
    """A backtest to be written; it is done at once if it has a result."""

    user_id: int
    fee_rate: Decimal
    slippage: Decimal
    initial_balance: Decimal
    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    min_notional: Decimal
    result_id: UUID | None


ORDERS = {"created_at": Order(created_at=datetime, backtest_id=UUID)}
COLUMNS = """
    b.backtest_id, b.strategy_id, b.strategy_version, b.strategy_hash, b.venue, b.symbol, b.interval, b.generation,
    b.from_time, b.to_time, b.last_bar, b.bars, b.fee_rate, b.slippage, b.initial_balance, b.tick_size, b.qty_step,
    b.min_order_qty, b.min_notional, b.status, b.failure_reason, coalesce(j.done, 0) AS done, b.created_at,
    b.started_at, b.ended_at, r.result_id, r.fingerprint, r.final_equity, r.fills, r.trades, r.missing_bars,
    r.first_decision, r.metrics, r.created_at AS result_created_at
"""
TABLES = """
    backtests b LEFT JOIN backtest_jobs j ON j.user_id = b.user_id AND j.backtest_id = b.backtest_id
    LEFT JOIN backtest_results r ON r.user_id = b.user_id AND r.result_id = b.result_id
"""


async def insert_backtest(connection: Connection, new: NewBacktest) -> None:
    await connection.execute(insert_of("backtests", NewBacktest.__dataclass_fields__), *vars(new).values())


async def find_backtest(connection: Connection, user_id: int, backtest_id: UUID) -> BacktestRow | None:
    row = await connection.fetchrow(
        f"SELECT {COLUMNS} FROM {TABLES} WHERE b.user_id = $1 AND b.backtest_id = $2", user_id, backtest_id
    )
    return _backtest(row) if row else None


async def get_backtest(connection: Connection, user_id: int, backtest_id: UUID) -> BacktestRow:
    """Raises NotFound."""
    return require_found(await find_backtest(connection, user_id, backtest_id))


async def list_backtests(
    connection: Connection,
    user_id: int,
    *,
    status: str | None,
    strategy_id: UUID | None,
    symbol: str | None,
    wanted: Slice,
) -> list[BacktestRow]:
    rows = await connection.fetch(
        f"""
        SELECT {COLUMNS} FROM {TABLES}
        WHERE b.user_id = $1 AND ($2::text IS NULL OR b.status = $2)
              AND ($3::uuid IS NULL OR b.strategy_id = $3) AND ($4::text IS NULL OR b.symbol = $4)
              {wanted.sql(5, "b")}
        """,
        user_id,
        status,
        strategy_id,
        symbol,
        *wanted.arguments,
    )
    return [_backtest(row) for row in rows]


async def lock_status(connection: Connection, user_id: int, backtest_id: UUID) -> BacktestStatus | None:
    """Return the status and lock the row until the transaction ends. Lock a backtest before its job."""
    status: BacktestStatus | None = await connection.fetchval(
        "SELECT status FROM backtests WHERE user_id = $1 AND backtest_id = $2 FOR UPDATE", user_id, backtest_id
    )
    return status


async def set_running(connection: Connection, user_id: int, backtest_id: UUID, bars: int, now: datetime) -> None:
    await connection.execute(
        """
        UPDATE backtests SET status = 'RUNNING', bars = $3, started_at = coalesce(started_at, $4)
        WHERE user_id = $1 AND backtest_id = $2
        """,
        user_id,
        backtest_id,
        bars,
        now,
    )


async def set_queued(connection: Connection, user_id: int, backtest_id: UUID) -> None:
    await connection.execute(
        "UPDATE backtests SET status = 'QUEUED' WHERE user_id = $1 AND backtest_id = $2 AND status = 'RUNNING'",
        user_id,
        backtest_id,
    )


async def set_ended(
    connection: Connection,
    user_id: int,
    backtest_id: UUID,
    status: BacktestStatus,
    now: datetime,
    *,
    result_id: UUID | None = None,
    failure_reason: str | None = None,
) -> None:
    await connection.execute(
        """
        UPDATE backtests SET status = $3, ended_at = $4, result_id = $5, failure_reason = $6
        WHERE user_id = $1 AND backtest_id = $2
        """,
        user_id,
        backtest_id,
        status,
        now,
        result_id,
        failure_reason,
    )


async def find_backtest_limits(
    connection: Connection, user_id: int, *, lock: bool = False
) -> BacktestLimits | None:
    """Return the plan's limits on backtests. With `lock`, one tenant's requests are counted one after the other."""
    row = await connection.fetchrow(
        f"""
        SELECT plan, has_backtesting, max_backtests_per_day
        FROM entitlements WHERE user_id = $1 {"FOR UPDATE" if lock else ""}
        """,
        user_id,
    )
    return BacktestLimits(**row) if row else None


async def get_usage(connection: Connection, user_id: int, day: date) -> int:
    used: int | None = await connection.fetchval(
        "SELECT used FROM backtest_days WHERE user_id = $1 AND day = $2", user_id, day
    )
    return used or 0


async def count_use(connection: Connection, user_id: int, day: date) -> None:
    """Count one backtest on this day; delete the counts of earlier days."""
    await connection.execute("DELETE FROM backtest_days WHERE user_id = $1 AND day < $2", user_id, day)
    await connection.execute(
        """
        INSERT INTO backtest_days (user_id, day, used) VALUES ($1, $2, 1)
        ON CONFLICT (user_id, day) DO UPDATE SET used = backtest_days.used + 1
        """,
        user_id,
        day,
    )


async def list_intervals(connection: Connection, venue: str, symbol: str) -> list[str]:
    """List the intervals at which there are candles of this symbol."""
    rows = await connection.fetch(
        "SELECT DISTINCT interval FROM series WHERE venue = $1 AND symbol = $2 AND anchor IS NOT NULL ORDER BY 1",
        venue,
        symbol,
    )
    return [row["interval"] for row in rows]


async def find_generation(connection: Connection, venue: str, symbol: str, interval: str) -> int | None:
    """Find the newest generation that has bars."""
    generation: int | None = await connection.fetchval(
        """
        SELECT max(generation) FROM series
        WHERE venue = $1 AND symbol = $2 AND interval = $3 AND anchor IS NOT NULL
        """,
        venue,
        symbol,
        interval,
    )
    return generation


async def find_range(
    connection: Connection, series_id: int, first: datetime, before: datetime, max_bars: int | None = None
) -> Range | None:
    """Find the range of bars that open from `first` on and before `before`; counts at most `max_bars` + 1."""
    row = await connection.fetchrow(
        """
        SELECT min(open_time) AS first, max(open_time) AS last, count(*)::integer AS bars FROM (
            SELECT open_time FROM candles WHERE series_id = $1 AND open_time >= $2 AND open_time < $3
            ORDER BY open_time LIMIT $4::bigint) AS within
        """,
        series_id,
        first,
        before,
        None if max_bars is None else max_bars + 1,
    )
    return Range(**row) if row and row["bars"] else None


async def get_lowest_price(connection: Connection, series_id: int, within: Range) -> Decimal:
    """Return the lowest price in a range, which must not be empty."""
    lowest: Decimal = await connection.fetchval(
        "SELECT min(low) FROM candles WHERE series_id = $1 AND open_time BETWEEN $2 AND $3",
        series_id,
        within.first,
        within.last,
    )
    return lowest


def _backtest(row: asyncpg.Record) -> BacktestRow:
    instrument = Instrument(row["tick_size"], row["qty_step"], row["min_order_qty"], row["min_notional"])
    return BacktestRow(
        backtest_id=row["backtest_id"],
        strategy_id=row["strategy_id"],
        strategy_version=row["strategy_version"],
        strategy_hash=row["strategy_hash"],
        venue=row["venue"],
        symbol=row["symbol"],
        interval=row["interval"],
        generation=row["generation"],
        from_time=row["from_time"],
        to_time=row["to_time"],
        last_bar=row["last_bar"],
        bars=row["bars"],
        terms=Terms(instrument, row["fee_rate"], row["slippage"], row["initial_balance"]),
        status=row["status"],
        failure_reason=row["failure_reason"],
        done=row["bars"] if row["status"] == "DONE" else row["done"],
        result=_result(row) if row["result_id"] else None,
        created_at=row["created_at"],
        started_at=row["started_at"],
        ended_at=row["ended_at"],
    )


def _result(row: asyncpg.Record) -> ResultRow:
    return ResultRow(
        row["result_id"],
        row["fingerprint"],
        row["final_equity"],
        row["fills"],
        row["trades"],
        row["missing_bars"],
        row["first_decision"],
        row["metrics"],
        row["result_created_at"],
    )
