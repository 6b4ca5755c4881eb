"""Results of backtests, keyed by a hash of everything that they depend on."""

import json
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection

Kind = Literal["fills", "trades"]
FILL_ORDERS = {"fill_number": Order(fill_number=int)}
TRADE_ORDERS = {"trade_number": Order(trade_number=int)}

# A chunk is a JSON array of rows from the calculation; its amounts are strings, cast to numeric here.
INSERTS: dict[Kind, str] = {
    "fills": """
        INSERT INTO backtest_fills (user_id, result_id, fill_number, time, action, side, qty, price, fee, reason)
        SELECT $1, $2, n, time, action, side, qty, price, fee, reason
        FROM jsonb_to_recordset($3::text::jsonb) AS f (
            n integer, time timestamptz, action text, side text, qty numeric, price numeric, fee numeric,
            reason text)
    """,
    "trades": """
        INSERT INTO backtest_trades (user_id, result_id, trade_number, side, entry_time, exit_time, entry_price,
                                     exit_price, quantity, gross_pnl, fee, pnl, pnl_percentage, reason, bars)
        SELECT $1, $2, n, side, entry_time, exit_time, entry_price, exit_price, quantity, gross_pnl, fee, pnl,
               pnl_percentage, reason, bars
        FROM jsonb_to_recordset($3::text::jsonb) AS t (
            n integer, side text, entry_time timestamptz, exit_time timestamptz, entry_price numeric,
            exit_price numeric, quantity numeric, gross_pnl numeric, fee numeric, pnl numeric,
            pnl_percentage numeric, reason text, bars integer)
    """,
}


@dataclass(frozen=True)
class BacktestFill:
    fill_number: int
    time: datetime
    action: Literal["open", "close"]
    side: Literal["LONG", "SHORT"]
    qty: Decimal
    price: Decimal
    fee: Decimal
    reason: str


@dataclass(frozen=True)
class BacktestTrade:
    trade_number: int
    side: Literal["LONG", "SHORT"]
    entry_time: datetime
    exit_time: datetime
    entry_price: Decimal
    exit_price: Decimal
    quantity: Decimal
    gross_pnl: Decimal
    fee: Decimal
    pnl: Decimal
    pnl_percentage: Decimal
    reason: str
    bars: int


@dataclass(frozen=True)
class ResultHead:
    """A result without its fills and trades, as the calculation reports it."""

    bars: int
    fingerprint: str
    final_equity: Decimal
    fills: int
    trades: int
    missing_bars: int
    first_decision: datetime | None
    metrics: dict[str, float | None]

    @classmethod
    def read(cls, text: str) -> "ResultHead":
        values = json.loads(text)
        first = values["first_decision"]
        parsed = {
            "final_equity": Decimal(values["final_equity"]),
            "first_decision": None if first is None else datetime.fromisoformat(first),
        }
        return cls(**{**values, **parsed})


async def find_result(connection: Connection, user_id: int, question_sha256: bytes, now: datetime) -> UUID | None:
    """Find the stored result of this question; its retention starts again at `now`."""
    result_id: UUID | None = await connection.fetchval(
        "UPDATE backtest_results SET asked_at = $3 WHERE user_id = $1 AND question_sha256 = $2 RETURNING result_id",
        user_id,
        question_sha256,
        now,
    )
    return result_id


async def insert_result(
    connection: Connection, user_id: int, result_id: UUID, question_sha256: bytes, head: ResultHead, now: datetime
) -> bool:
    """Insert a result; returns False if this question has one already."""
    inserted = await connection.fetchval(
        """
        INSERT INTO backtest_results (user_id, result_id, question_sha256, fingerprint, final_equity, fills, trades,
                                      missing_bars, first_decision, metrics, created_at, asked_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
        ON CONFLICT (user_id, question_sha256) DO NOTHING RETURNING true
        """,
        user_id,
        result_id,
        question_sha256,
        head.fingerprint,
        head.final_equity,
        head.fills,
        head.trades,
        head.missing_bars,
        head.first_decision,
        head.metrics,
        now,
    )
    return bool(inserted)


async def insert_rows(connection: Connection, user_id: int, result_id: UUID, kind: Kind, rows_json: str) -> None:
    await connection.execute(INSERTS[kind], user_id, result_id, rows_json)


async def list_fills(connection: Connection, user_id: int, result_id: UUID, wanted: Slice) -> list[BacktestFill]:
    rows = await connection.fetch(
        f"""
        SELECT fill_number, time, action, side, qty, price, fee, reason FROM backtest_fills
        WHERE user_id = $1 AND result_id = $2 {wanted.sql(3)}
        """,
        user_id,
        result_id,
        *wanted.arguments,
    )
    return [BacktestFill(**row) for row in rows]


async def list_trades(connection: Connection, user_id: int, result_id: UUID, wanted: Slice) -> list[BacktestTrade]:
    rows = await connection.fetch(
        f"""
        SELECT trade_number, side, entry_time, exit_time, entry_price, exit_price, quantity, gross_pnl, fee, pnl,
               pnl_percentage, reason, bars
        FROM backtest_trades
        WHERE user_id = $1 AND result_id = $2 {wanted.sql(3)}
        """,
        user_id,
        result_id,
        *wanted.arguments,
    )
    return [BacktestTrade(**row) for row in rows]
