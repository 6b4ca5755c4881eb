"""Realised equity after each trade and each capital flow of a session."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Literal, cast
from uuid import UUID

from services.analytics.domain.local_days import Span
from shared.chassis.listing import Order, Slice
from shared.chassis.postgres import Connection

Kind = Literal["CAPITAL_ADDED", "TRADE", "CAPITAL_TAKEN"]


class Rank(IntEnum):
    """The order of points at the same time: capital is added before trades and taken after them."""

    CAPITAL_ADDED = 0
    TRADE = 1
    CAPITAL_TAKEN = 2


Position = tuple[datetime, int, UUID]

ORDERS = {"equity_time": Order(time=datetime, rank=Rank, id=UUID)}


def _list_equity(*, descending: bool) -> str:
    """Return the query of a page, from the position $3 to $5 on, up to the time $6.

    The totals at the position are summed once, and only as many trades beyond it are read as the page shows.
    Sessions are few and read in full.
    """
    if descending:
        passed, beyond, within, direction, totals = "<", "<", ">=", "DESC", "- coalesce(sum({}) OVER before_it, 0)"
    else:
        passed, beyond, within, direction, totals = "<=", ">", "<", "ASC", "+ sum({}) OVER up_to_it"
    position = "($3, $4::integer, $5::uuid)"
    order = f"time {direction}, rank {direction}, id {direction}"
    return f"""
    WITH base AS (
        SELECT (SELECT coalesce(sum(pnl), 0) FROM trade_facts
                WHERE user_id = $1 AND mode = $2 AND exit_time <= $3
                      AND (exit_time, 1, trade_id) {passed} {position}) AS pnl,
               (SELECT coalesce(sum(initial_balance), 0) FROM session_facts
                WHERE user_id = $1 AND mode = $2 AND (started_at, 0, session_id) {passed} {position}) AS added,
               (SELECT coalesce(sum(final_balance), 0) FROM session_facts
                WHERE user_id = $1 AND mode = $2 AND started_at IS NOT NULL
                      AND (stopped_at, 2, session_id) {passed} {position}) AS taken
    ), happened AS (
        (SELECT exit_time AS time, 1 AS rank, trade_id AS id, 'TRADE' AS kind, session_id, symbol, pnl,
                0::numeric AS capital_added, 0::numeric AS capital_taken
         FROM trade_facts
         WHERE user_id = $1 AND mode = $2 AND exit_time {beyond}= $3 AND exit_time {within} $6::timestamptz
               AND (exit_time, 1, trade_id) {beyond} {position}
         ORDER BY exit_time {direction}, trade_id {direction} LIMIT $8)
        UNION ALL
        SELECT started_at, 0, session_id, 'CAPITAL_ADDED', session_id, symbol, 0, initial_balance, 0
        FROM session_facts
        WHERE user_id = $1 AND mode = $2 AND started_at {within} $6
              AND (started_at, 0, session_id) {beyond} {position}
        UNION ALL
        SELECT stopped_at, 2, session_id, 'CAPITAL_TAKEN', session_id, symbol, 0, 0, final_balance
        FROM session_facts
        WHERE user_id = $1 AND mode = $2 AND started_at IS NOT NULL AND stopped_at {within} $6
              AND (stopped_at, 2, session_id) {beyond} {position}
    ), curve AS (
        SELECT happened.*, base.pnl {totals.format("happened.pnl")} AS total_pnl,
               base.added {totals.format("capital_added")} AS all_added,
               base.taken {totals.format("capital_taken")} AS all_taken
        FROM happened, base
        WINDOW up_to_it AS (ORDER BY {order} ROWS UNBOUNDED PRECEDING),
               before_it AS (ORDER BY {order} ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
    )
    SELECT time, rank, id, kind, session_id, symbol, pnl, capital_added, capital_taken, total_pnl,
           total_pnl + all_added AS equity, total_pnl + all_added - all_taken AS in_sessions
    FROM curve WHERE $7 OR kind = 'TRADE' ORDER BY {order} LIMIT $8
    """


LIST_EQUITY = {descending: _list_equity(descending=descending) for descending in (False, True)}


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


async def list_equity(
    connection: Connection, user_id: int, mode: str, *, spans: Sequence[Span], flows: bool, wanted: Slice
) -> list[EquityRow]:
    """List equity points within the spans; totals include all earlier trades. `flows` adds points for flows."""
    found: list[EquityRow] = []
    after = cast("Position | None", wanted.after)
    for begin, end in reversed(spans) if wanted.descending else spans:
        if wanted.descending:
            position, bound = min(_before(end), after or _before(end)), begin
        else:
            position, bound = max(_before(begin), after or _before(begin)), end
        left = wanted.limit - len(found)
        rows = await connection.fetch(LIST_EQUITY[wanted.descending], user_id, mode, *position, bound, flows, left)
        found += [EquityRow(**row) for row in rows]
        if len(found) == wanted.limit:
            break
    return found


def _before(time: datetime) -> Position:
    """Return the position before every point of this time."""
    return time, -1, UUID(int=0)
