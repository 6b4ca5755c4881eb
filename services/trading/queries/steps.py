"""The writes of sessions' steps: one statement per table, for as many sessions as step together."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from services.trading.queries.sessions import SessionLease
from shared.chassis.postgres import Connection
from shared.chassis.row_arrays import arrays_of, insert_rows, unnest
from shared.contracts.types import to_ms
from shared.strategy.execution.outcome import Fill


class Cursor(NamedTuple):
    """A session's counters after its row was updated."""

    fill_count: int
    event_seq: int


class Move(NamedTuple):
    """A session's move to `last_bar` under its lease, from `expected_bar`, and what it has come to.

    `fills` and `events` are added to its counters. A `fingerprint` of None stays as it is.
    """

    user_id: int
    session_id: UUID
    epoch: int
    entries: str
    expected_bar: datetime | None
    last_bar: datetime | None
    snapshot: Mapping[str, object]
    total_trades: int
    winning_trades: int
    losing_trades: int
    total_pnl: Decimal
    highest_equity: Decimal
    max_drawdown: Decimal
    fills: int
    events: int
    fingerprint: str | None


class QuietMove(NamedTuple):
    """A session's move to `last_bar` under its lease, from `expected_bar`, where it decided nothing."""

    user_id: int
    session_id: UUID
    epoch: int
    expected_bar: datetime | None
    last_bar: datetime


class NewDecision(NamedTuple):
    user_id: int
    session_id: UUID
    strategy_hash: str
    decision_id: UUID
    time: datetime
    kind: str
    side: str
    reason: str
    qty: Decimal | None
    outcome: str
    refusal: str | None
    values: Mapping[str, float | None]
    checks: Mapping[str, bool | None]
    allowed: Decimal | None
    asked: Decimal | None


class TradeChange(NamedTuple):
    """The change of an open trade by a step: quantity closed and fees are added; no result until it ends."""

    user_id: int
    trade_id: UUID
    status: str
    closed_quantity: Decimal
    fee: Decimal
    late: bool
    exit_time: datetime | None
    exit_price: Decimal | None
    gross_pnl: Decimal | None
    pnl: Decimal | None
    pnl_percentage: Decimal | None
    strategy_signal: str | None


class NewTrade(NamedTuple):
    """A trade as it is after the step that opened it, which may also have closed it."""

    user_id: int
    trade_id: UUID
    status: str
    closed_quantity: Decimal
    fee: Decimal
    late: bool
    exit_time: datetime | None
    exit_price: Decimal | None
    gross_pnl: Decimal | None
    pnl: Decimal | None
    pnl_percentage: Decimal | None
    strategy_signal: str | None
    session_id: UUID
    strategy_id: UUID
    strategy_hash: str
    symbol: str
    side: str
    entry_time: datetime
    entry_price: Decimal
    quantity: Decimal
    is_paper_trade: bool


class NewFill(NamedTuple):
    """`equity` is the session's equity after a fill that closes a trade, else None. The last two are of a live
    session: the execution, and the intent whose order was filled, unless the exchange filled a stop."""

    user_id: int
    session_id: UUID
    fill_number: int
    trade_id: UUID
    time: datetime
    action: str
    side: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    reason: str
    late: bool
    equity: Decimal | None
    execution_id: str | None = None
    intent_id: UUID | None = None


# A transaction that changes a lease's epoch or entries, or deletes it, locks it FOR UPDATE first. A key share
# conflicts with that, but not with renewals, which would otherwise wait for steps, and steps for them.
MOVE_SESSIONS = f"""
    WITH held AS (
        SELECT new.* FROM {unnest(Move)} JOIN session_leases AS l USING (user_id, session_id, epoch)
        WHERE l.allows = new.entries ORDER BY l.user_id, l.session_id FOR KEY SHARE OF l
    ),
    moved AS (
        UPDATE session_cursors AS c SET
            first_bar = coalesce(c.first_bar, held.last_bar), last_bar = held.last_bar, moved_at = now()
        FROM held
        WHERE c.user_id = held.user_id AND c.session_id = held.session_id
              AND c.last_bar IS NOT DISTINCT FROM held.expected_bar AND NOT c.ended
        RETURNING held.*
    )
    UPDATE user_trading_sessions AS s SET
        snapshot = moved.snapshot, total_trades = moved.total_trades, winning_trades = moved.winning_trades,
        losing_trades = moved.losing_trades, total_pnl = moved.total_pnl, highest_equity = moved.highest_equity,
        max_drawdown = moved.max_drawdown, fill_count = s.fill_count + moved.fills,
        event_seq = s.event_seq + moved.events, fingerprint = coalesce(moved.fingerprint, s.fingerprint)
    FROM moved
    WHERE s.user_id = moved.user_id AND s.session_id = moved.session_id
    RETURNING s.session_id, s.fill_count, s.event_seq
"""
MOVE_CURSORS = f"""
    UPDATE session_cursors AS c SET
        first_bar = coalesce(c.first_bar, new.last_bar), last_bar = new.last_bar, moved_at = now()
    FROM {unnest(QuietMove)} JOIN session_leases AS l USING (user_id, session_id, epoch)
    WHERE c.user_id = new.user_id AND c.session_id = new.session_id
          AND c.last_bar IS NOT DISTINCT FROM new.expected_bar AND NOT c.ended
    RETURNING c.session_id
"""
INSERT_DECISIONS = insert_rows("decisions", NewDecision)
INSERT_TRADES = insert_rows("user_trades", NewTrade)
CHANGE_TRADES = f"""
    UPDATE user_trades AS t SET
        status = new.status, closed_quantity = t.closed_quantity + new.closed_quantity, fee = t.fee + new.fee,
        late = t.late OR new.late, exit_time = new.exit_time, exit_price = new.exit_price,
        gross_pnl = new.gross_pnl, pnl = new.pnl, pnl_percentage = new.pnl_percentage,
        strategy_signal = new.strategy_signal
    FROM {unnest(TradeChange)}
    WHERE t.user_id = new.user_id AND t.trade_id = new.trade_id AND t.status = 'OPEN'
    RETURNING t.trade_id, t.late
"""
# The decision that ordered the fill: its intent's; else one of an earlier bar, for an open the entry's, for a close
# the side's latest.
INSERT_FILLS = f"""
    INSERT INTO fills ({", ".join(NewFill._fields)}, decision_id)
    SELECT new.*, coalesce((
        SELECT i.decision_id FROM order_intents AS i WHERE i.user_id = new.user_id AND i.intent_id = new.intent_id
    ), (
        SELECT d.decision_id FROM decisions AS d
        WHERE d.user_id = new.user_id AND d.session_id = new.session_id AND d.side = new.side
              AND d.outcome IN ('pending', 'filled') AND d.time < new.time
              AND (new.action = 'close' OR d.kind = 'entry')
        ORDER BY d.time DESC LIMIT 1))
    FROM {unnest(NewFill)}
"""
# A live entry fills in parts: quantity and entry price follow from its fills.
AVERAGE_ENTRIES = """
    UPDATE user_trades AS t SET quantity = opened.qty, entry_price = round(opened.notional / opened.qty, 8)
    FROM (
        SELECT f.user_id, f.trade_id, sum(f.qty) AS qty, sum(f.qty * f.price) AS notional FROM fills AS f
        JOIN unnest($1::bigint[], $2::uuid[]) AS changed (user_id, trade_id) USING (user_id, trade_id)
        WHERE f.action = 'open' GROUP BY f.user_id, f.trade_id HAVING count(*) > 1
    ) AS opened
    WHERE t.user_id = opened.user_id AND t.trade_id = opened.trade_id
"""


async def move_sessions(connection: Connection, moves: Sequence[Move]) -> dict[UUID, Cursor]:
    """Move these sessions under their leases. Returns the counters of those moved.

    A session whose lease, cursor or allowed entries have changed is not moved.
    """
    rows = await connection.fetch(MOVE_SESSIONS, *arrays_of(moves))
    return {session_id: Cursor(*counters) for session_id, *counters in rows}


async def move_cursors(connection: Connection, moves: Sequence[QuietMove]) -> set[UUID]:
    """Move the cursors of sessions that decided nothing. Returns the sessions moved.

    Commits asynchronously: a move lost in a crash of the server is stepped again, with the same result.
    """
    await connection.execute("SET LOCAL synchronous_commit = off")
    return {row["session_id"] for row in await connection.fetch(MOVE_CURSORS, *arrays_of(moves))}


async def insert_decisions(connection: Connection, decisions: Sequence[NewDecision]) -> None:
    await connection.execute(INSERT_DECISIONS, *arrays_of(decisions))


async def change_trades(connection: Connection, changes: Sequence[TradeChange]) -> set[UUID]:
    """Change open trades; returns those of which any fill was late."""
    rows = await connection.fetch(CHANGE_TRADES, *arrays_of(changes))
    return {trade_id for trade_id, late in rows if late}


async def insert_trades(connection: Connection, trades: Sequence[NewTrade]) -> None:
    """Insert trades. Call `change_trades` first: a session has one open trade at most."""
    await connection.execute(INSERT_TRADES, *arrays_of(trades))


async def insert_fills(connection: Connection, fills: Sequence[NewFill]) -> None:
    """Insert fills, each with the decision that ordered it."""
    await connection.execute(INSERT_FILLS, *arrays_of(fills))


async def average_entries(connection: Connection, trades: Sequence[tuple[int, UUID]]) -> None:
    """Average the entries of these trades (tenant, id) that were filled in parts."""
    await connection.execute(AVERAGE_ENTRIES, *arrays_of(trades))


async def list_fills_of(connection: Connection, leases: Collection[SessionLease]) -> dict[UUID, list[Fill]]:
    """Return all fills of these sessions, in order, as the fingerprint needs them."""
    found: dict[UUID, list[Fill]] = {lease.session_id: [] for lease in leases}
    for session_id, time, *rest in await connection.fetch(
        """
        SELECT f.session_id, f.time, f.action, f.side, f.qty, f.price, f.fee, f.reason
        FROM fills AS f JOIN unnest($1::bigint[], $2::uuid[]) AS wanted (user_id, session_id)
             USING (user_id, session_id)
        ORDER BY f.user_id, f.session_id, f.fill_number
        """,
        [lease.user_id for lease in leases],
        [lease.session_id for lease in leases],
    ):
        found[session_id].append(Fill(to_ms(time), *rest))
    return found
