"""Realised equity after each trade and each capital flow of a session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.analytics.domain.local_days import Span
from shared.chassis.postgres import Connection
from shared.contracts.types import EARLIEST

Kind = Literal["CAPITAL_ADDED", "TRADE", "CAPITAL_TAKEN"]
Position = tuple[datetime, int, UUID]

BEFORE_ALL = (EARLIEST, -1, UUID(int=0))

# One page: everything up to the position is summed once, and only as many trades after it are read as the page
# shows. Sessions are few and read in full. At the same time capital is added before trades and taken after them.
LIST_EQUITY = """
    WITH before AS (
        SELECT (SELECT coalesce(sum(pnl), 0) FROM trade_facts
                WHERE user_id = $1 AND mode = $2 AND exit_time <= $3
                      AND (exit_time, 1, trade_id) <= ($3, $4::integer, $5::uuid)) AS pnl,
               (SELECT coalesce(sum(initial_balance), 0) FROM session_facts
                WHERE user_id = $1 AND mode = $2 AND (started_at, 0, session_id) <= ($3, $4, $5)) AS added,
               (SELECT coalesce(sum(final_balance), 0) FROM session_facts
                WHERE user_id = $1 AND mode = $2 AND started_at IS NOT NULL
                      AND (stopped_at, 2, session_id) <= ($3, $4, $5)) AS taken
    ), happened AS (
        (SELECT exit_time AS time, 1 AS rank, trade_id AS id, 'TRADE' AS kind, session_id, symbol, pnl,
                0::numeric AS capital_added, 0::numeric AS capital_taken
         FROM trade_facts
         WHERE user_id = $1 AND mode = $2 AND exit_time >= $3 AND exit_time < $6::timestamptz
               AND (exit_time, 1, trade_id) > ($3, $4, $5)
         ORDER BY exit_time, trade_id LIMIT $8)
        UNION ALL
        SELECT started_at, 0, session_id, 'CAPITAL_ADDED', session_id, symbol, 0, initial_balance, 0
        FROM session_facts
        WHERE user_id = $1 AND mode = $2 AND started_at < $6
              AND (started_at, 0, session_id) > ($3, $4, $5)
        UNION ALL
        SELECT stopped_at, 2, session_id, 'CAPITAL_TAKEN', session_id, symbol, 0, 0, final_balance
        FROM session_facts
        WHERE user_id = $1 AND mode = $2 AND started_at IS NOT NULL AND stopped_at < $6
              AND (stopped_at, 2, session_id) > ($3, $4, $5)
    ), curve AS (
        SELECT happened.*, before.pnl + sum(happened.pnl) OVER so_far AS total_pnl,
               before.added + sum(capital_added) OVER so_far AS all_added,
               before.taken + sum(capital_taken) OVER so_far AS all_taken
        FROM happened, before WINDOW so_far AS (ORDER BY time, rank, id ROWS UNBOUNDED PRECEDING)
    )
    SELECT time, rank, id, kind, session_id, symbol, pnl, capital_added, capital_taken, total_pnl,
           total_pnl + all_added AS equity, total_pnl + all_added - all_taken AS in_sessions
    FROM curve WHERE $7 OR kind = 'TRADE' ORDER BY time, rank, id LIMIT $8
"""


@dataclass(frozen=True)
class EquityRow:
    """`id` is the trade's or the session's id; `in_sessions` is the balance of sessions that have not stopped."""

    time: datetime
    rank: int
    id: UUID
    kind: Kind
    session_id: UUID
    symbol: str
    pnl: Decimal
    capital_added: Decimal
    capital_taken: Decimal
    total_pnl: Decimal
    equity: Decimal
    in_sessions: Decimal

    @property
    def position(self) -> Position:
        return (self.time, self.rank, self.id)


async def list_equity(
    connection: Connection,
    user_id: int,
    mode: str,
    *,
    spans: Sequence[Span],
    after: Position | None,
    flows: bool,
    limit: int,
) -> list[EquityRow]:
    """List equity points within the spans; totals include all earlier trades. `flows` adds points for flows."""
    found: list[EquityRow] = []
    for begin, end in spans:
        position = max((begin, -1, UUID(int=0)), after or BEFORE_ALL)
        rows = await connection.fetch(LIST_EQUITY, user_id, mode, *position, end, flows, limit - len(found))
        found += [EquityRow(**row) for row in rows]
        if len(found) == limit:
            break
    return found
