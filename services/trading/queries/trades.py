"""Trades, and the totals that a stop writes."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.queries.steps import Cursor
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms
from shared.strategy.execution.outcome import Decision, Fill


@dataclass(frozen=True)
class TradeRow:
    trade_id: UUID
    session_id: UUID
    strategy_id: UUID
    strategy_hash: str
    symbol: str
    side: str
    status: str
    entry_time: datetime
    exit_time: datetime | None
    entry_price: Decimal
    exit_price: Decimal | None
    quantity: Decimal
    remaining_quantity: Decimal
    gross_pnl: Decimal | None
    pnl: Decimal | None
    fee: Decimal
    pnl_percentage: Decimal | None
    strategy_signal: str | None
    is_paper_trade: bool
    late: bool
    notes: str | None
    revision: int
    created_at: datetime
    updated_at: datetime
    decision_ids: Sequence[UUID]
    funding: Decimal


ORDERS = {
    "entry_time": Order(entry_time=datetime, trade_id=UUID),
    "created_at": Order(created_at=datetime, trade_id=UUID),
}
COMPUTED = ("decision_ids", "remaining_quantity", "funding")
# `decision_ids` are the decisions of the trade's fills, in the order they were taken.
TRADE_COLUMNS = (
    ", ".join(name for name in TradeRow.__dataclass_fields__ if name not in COMPUTED)
    + """,
    CASE status WHEN 'OPEN' THEN quantity - closed_quantity ELSE 0 END AS remaining_quantity,
    ARRAY(SELECT f.decision_id FROM fills AS f
          WHERE f.user_id = user_trades.user_id AND f.trade_id = user_trades.trade_id AND f.decision_id IS NOT NULL
          GROUP BY f.decision_id ORDER BY f.decision_id) AS decision_ids,
    (SELECT coalesce(sum(p.amount), 0) FROM funding_payments AS p
     WHERE p.user_id = user_trades.user_id AND p.trade_id = user_trades.trade_id) AS funding
"""
)


def refusal_code(decision: Decision) -> str | None:
    """Return the code of what refused an entry, `too_small` included; None if nothing did."""
    return "too_small" if decision.outcome == "too_small" else decision.refusal


async def update_totals(
    connection: Connection, user_id: int, session_id: UUID, totals: SessionTotals, fills: int, events: int
) -> Cursor:
    """Update the session's totals and counters at a stop. The caller has locked the row."""
    row = await connection.fetchrow(
        """
        UPDATE user_trading_sessions AS s SET
            total_trades = $3, winning_trades = $4, losing_trades = $5, total_pnl = $6, highest_equity = $7,
            max_drawdown = $8, fill_count = s.fill_count + $9, event_seq = s.event_seq + $10
        WHERE s.user_id = $1 AND s.session_id = $2 RETURNING s.fill_count, s.event_seq
        """,
        user_id,
        session_id,
        totals.total_trades,
        totals.winning_trades,
        totals.losing_trades,
        totals.total_pnl,
        totals.highest_equity,
        totals.max_drawdown,
        fills,
        events,
    )
    return Cursor(**row)


@dataclass(frozen=True)
class OpenTrade:
    """`quantity`: what is left of it."""

    trade_id: UUID
    quantity: Decimal


async def find_open(connection: Connection, user_id: int, session_id: UUID) -> OpenTrade | None:
    row = await connection.fetchrow(
        """
        SELECT trade_id, quantity - closed_quantity AS quantity FROM user_trades
        WHERE user_id = $1 AND session_id = $2 AND status = 'OPEN'
        """,
        user_id,
        session_id,
    )
    return OpenTrade(**row) if row else None


async def find_open_trade(connection: Connection, user_id: int, session_id: UUID) -> UUID | None:
    found = await find_open(connection, user_id, session_id)
    return found.trade_id if found else None


@dataclass(frozen=True)
class TradeFilter:
    """None: any. The entry time is from `first` on and before `last`."""

    session_id: UUID | None = None
    strategy_id: UUID | None = None
    symbol: str | None = None
    status: str | None = None
    first: datetime | None = None
    last: datetime | None = None


async def list_trades(connection: Connection, user_id: int, criteria: TradeFilter, wanted: Slice) -> list[TradeRow]:
    rows = await connection.fetch(
        f"""
        SELECT {TRADE_COLUMNS} FROM user_trades
        WHERE user_id = $1 AND ($2::uuid IS NULL OR session_id = $2) AND ($3::uuid IS NULL OR strategy_id = $3)
              AND ($4::text IS NULL OR symbol = $4) AND ($5::text IS NULL OR status = $5)
              AND ($6::timestamptz IS NULL OR entry_time >= $6) AND ($7::timestamptz IS NULL OR entry_time < $7)
              {wanted.sql(8)}
        """,
        user_id,
        criteria.session_id,
        criteria.strategy_id,
        criteria.symbol,
        criteria.status,
        criteria.first,
        criteria.last,
        *wanted.arguments,
    )
    return [TradeRow(**row) for row in rows]


async def get_trade(connection: Connection, user_id: int, trade_id: UUID, *, lock: bool = False) -> TradeRow:
    """Raises NotFound."""
    row = await connection.fetchrow(
        f"""
        SELECT {TRADE_COLUMNS} FROM user_trades WHERE user_id = $1 AND trade_id = $2 {"FOR UPDATE" if lock else ""}
        """,
        user_id,
        trade_id,
    )
    return TradeRow(**require_found(row))


async def update_notes(connection: Connection, user_id: int, trade_id: UUID, notes: str | None) -> TradeRow:
    row = await connection.fetchrow(
        f"""
        UPDATE user_trades SET notes = $3, revision = revision + 1 WHERE user_id = $1 AND trade_id = $2
        RETURNING {TRADE_COLUMNS}
        """,
        user_id,
        trade_id,
        notes,
    )
    return TradeRow(**row)


async def list_session_fills(connection: Connection, user_id: int, session_id: UUID) -> list[Fill]:
    """List all fills of a session, in order, as the fingerprint needs them."""
    rows = await connection.fetch(
        """
        SELECT time, action, side, qty, price, fee, reason FROM fills
        WHERE user_id = $1 AND session_id = $2 ORDER BY fill_number
        """,
        user_id,
        session_id,
    )
    return [Fill(to_ms(time), *rest) for time, *rest in rows]
