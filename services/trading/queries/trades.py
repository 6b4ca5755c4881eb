"""Trades, and the writes of a session's step: cursor, decisions, fills."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import SessionTotals
from services.trading.queries.sessions import SessionLease
from shared.chassis.errors import require_found
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection
from shared.contracts.types import from_ms, new_id, to_ms
from shared.strategy.execution.outcome import Decision, Fill, Trade


@dataclass(frozen=True)
class Cursor:
    """A session's counters after its row was updated."""

    fill_count: int
    event_seq: int


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


ORDERS = {
    "entry_time": Order(entry_time=datetime, trade_id=UUID),
    "created_at": Order(created_at=datetime, trade_id=UUID),
}
COMPUTED = ("decision_ids", "remaining_quantity")
# `decision_ids` are the decisions of the trade's fills, in the order they were taken.
TRADE_COLUMNS = (
    ", ".join(name for name in TradeRow.__dataclass_fields__ if name not in COMPUTED)
    + """,
    CASE status WHEN 'OPEN' THEN quantity - closed_quantity ELSE 0 END AS remaining_quantity,
    ARRAY(SELECT f.decision_id FROM fills AS f
          WHERE f.user_id = user_trades.user_id AND f.trade_id = user_trades.trade_id AND f.decision_id IS NOT NULL
          GROUP BY f.decision_id ORDER BY f.decision_id) AS decision_ids
"""
)


async def move_session(
    connection: Connection,
    lease: SessionLease,
    *,
    expected_bar: datetime | None,
    last_bar: datetime | None,
    snapshot: Mapping[str, object],
    totals: SessionTotals,
    fills: int,
    fingerprint: str | None,
    events: int,
    decisions: Sequence[Decision],
) -> Cursor | None:
    """Move the session's cursor under its lease and insert its decisions.

    A `fingerprint` of None stays as it is. Returns None, and changes nothing, if the lease, the cursor or the
    allowed entries have changed.
    """
    row = await connection.fetchrow(
        """
        WITH lease AS (
            SELECT user_id, session_id FROM session_leases
            WHERE user_id = $1 AND session_id = $2 AND epoch = $3 AND entries = $4 FOR SHARE
        ),
        moved AS (
            UPDATE user_trading_sessions AS s SET
                first_bar = coalesce(s.first_bar, $6), last_bar = $6, snapshot = $7,
                total_trades = $8, winning_trades = $9, losing_trades = $10,
                total_pnl = $11, highest_equity = $12, max_drawdown = $13,
                fill_count = s.fill_count + $14, event_seq = s.event_seq + $15,
                fingerprint = coalesce($28, s.fingerprint)
            FROM lease
            WHERE s.user_id = lease.user_id AND s.session_id = lease.session_id
                  AND s.last_bar IS NOT DISTINCT FROM $5 AND s.status <> 'STOPPED'
            RETURNING s.user_id, s.session_id, s.strategy_hash, s.fill_count, s.event_seq
        ),
        decided AS (
            INSERT INTO decisions (user_id, session_id, strategy_hash, decision_id, time, kind, side, reason, qty,
                                   outcome, refusal, values, checks, allowed, asked)
            SELECT moved.user_id, moved.session_id, moved.strategy_hash, d.*
            FROM moved, unnest($16::uuid[], $17::timestamptz[], $18::text[], $19::text[], $20::text[],
                               $21::numeric[], $22::text[], $23::text[], $24::jsonb[], $25::jsonb[],
                               $26::numeric[], $27::numeric[]) AS d
        )
        SELECT fill_count, event_seq FROM moved
        """,
        lease.user_id,
        lease.session_id,
        lease.epoch,
        lease.entries,
        expected_bar,
        last_bar,
        snapshot,
        totals.total_trades,
        totals.winning_trades,
        totals.losing_trades,
        totals.total_pnl,
        totals.highest_equity,
        totals.max_drawdown,
        fills,
        events,
        *_decision_columns(decisions),
        fingerprint,
    )
    return Cursor(**row) if row else None


def _decision_columns(decisions: Sequence[Decision]) -> list[list[object]]:
    """Return a list per inserted column of `decisions`, from `decision_id` on."""
    return [
        [new_id() for _ in decisions],
        [from_ms(decision.time_ms) for decision in decisions],
        [decision.kind for decision in decisions],
        [decision.side for decision in decisions],
        [decision.reason for decision in decisions],
        [decision.qty for decision in decisions],
        ["pending" if decision.outcome == "pending" else "refused" for decision in decisions],
        [refusal_code(decision) for decision in decisions],
        [dict(decision.values) for decision in decisions],
        [dict(decision.checks) for decision in decisions],
        [decision.allowed for decision in decisions],
        [decision.asked for decision in decisions],
    ]


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


async def move_cursors(
    connection: Connection, leases: Sequence[SessionLease], expected: Sequence[datetime | None], last_bar: datetime
) -> set[UUID]:
    """Move the cursors of sessions that decided nothing, in one statement. Returns the sessions moved.

    Commits asynchronously: a move lost in a crash of the server is stepped again, with the same result.
    """
    await connection.execute("SET LOCAL synchronous_commit = off")
    rows = await connection.fetch(
        """
        UPDATE user_trading_sessions AS s SET first_bar = coalesce(s.first_bar, $5), last_bar = $5
        FROM unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::timestamptz[])
                 AS step (user_id, session_id, epoch, expected)
             JOIN session_leases AS l USING (user_id, session_id, epoch)
        WHERE s.user_id = step.user_id AND s.session_id = step.session_id
              AND s.last_bar IS NOT DISTINCT FROM step.expected AND s.status <> 'STOPPED'
        RETURNING s.session_id
        """,
        [lease.user_id for lease in leases],
        [lease.session_id for lease in leases],
        [lease.epoch for lease in leases],
        expected,
        last_bar,
    )
    return {row["session_id"] for row in rows}


async def insert_fill(
    connection: Connection,
    user_id: int,
    session_id: UUID,
    number: int,
    trade_id: UUID,
    fill: Fill,
    *,
    late: bool,
    equity: Decimal | None,
) -> None:
    """Insert a fill and link it to the decision of an earlier bar that ordered it: for an open the entry's, for a
    close the side's latest."""
    await connection.execute(
        """
        INSERT INTO fills (user_id, session_id, fill_number, trade_id, time, action, side, qty, price, fee, reason,
                           late, equity, decision_id)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, (
            SELECT decision_id FROM decisions
            WHERE user_id = $1 AND session_id = $2 AND side = $7 AND outcome IN ('pending', 'filled') AND time < $5
                  AND ($6 = 'close' OR kind = 'entry')
            ORDER BY time DESC LIMIT 1))
        """,
        user_id,
        session_id,
        number,
        trade_id,
        from_ms(fill.time_ms),
        fill.action,
        fill.side,
        fill.qty,
        fill.price,
        fill.fee,
        fill.reason,
        late,
        equity,
    )


async def insert_open_trade(
    connection: Connection,
    user_id: int,
    session_id: UUID,
    trade_id: UUID,
    fill: Fill,
    *,
    strategy_id: UUID,
    strategy_hash: str,
    symbol: str,
    is_paper: bool,
    late: bool,
) -> None:
    await connection.execute(
        """
        INSERT INTO user_trades (user_id, trade_id, session_id, strategy_id, strategy_hash, symbol, side, status,
                                 entry_time, entry_price, quantity, fee, is_paper_trade, late)
        VALUES ($1, $2, $3, $4, $5, $6, $7, 'OPEN', $8, $9, $10, $11, $12, $13)
        """,
        user_id,
        trade_id,
        session_id,
        strategy_id,
        strategy_hash,
        symbol,
        fill.side,
        from_ms(fill.time_ms),
        fill.price,
        fill.qty,
        fill.fee,
        is_paper,
        late,
    )


async def sum_fills(connection: Connection, user_id: int, trade_id: UUID) -> bool:
    """Set what an open trade derives from its fills so far. Returns whether any of them was late."""
    was_late: bool = await connection.fetchval(
        """
        UPDATE user_trades AS t SET closed_quantity = f.closed, fee = f.fee, late = f.late
        FROM (SELECT coalesce(sum(qty) FILTER (WHERE action = 'close'), 0) AS closed, sum(fee) AS fee,
                     bool_or(late) AS late
              FROM fills WHERE user_id = $1 AND trade_id = $2) AS f
        WHERE t.user_id = $1 AND t.trade_id = $2 AND t.status = 'OPEN' RETURNING t.late
        """,
        user_id,
        trade_id,
    )
    return was_late


async def close_trade(connection: Connection, user_id: int, trade_id: UUID, trade: Trade) -> None:
    """Close a trade. Call `sum_fills` first: it sets the fees."""
    await connection.execute(
        """
        UPDATE user_trades SET status = 'CLOSED', exit_time = $3, exit_price = $4, gross_pnl = $5, pnl = $6,
               pnl_percentage = $7, strategy_signal = $8
        WHERE user_id = $1 AND trade_id = $2 AND status = 'OPEN'
        """,
        user_id,
        trade_id,
        from_ms(trade.exit_time),
        trade.exit_price,
        trade.gross,
        trade.pnl,
        trade.pnl_percentage,
        trade.reason,
    )


async def find_open_trade(connection: Connection, user_id: int, session_id: UUID) -> UUID | None:
    trade_id: UUID | None = await connection.fetchval(
        "SELECT trade_id FROM user_trades WHERE user_id = $1 AND session_id = $2 AND status = 'OPEN'",
        user_id,
        session_id,
    )
    return trade_id


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
