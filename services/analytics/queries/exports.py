"""Rows of exports, read in chunks from a position; the cost of a chunk does not depend on its position."""

from collections.abc import Sequence
from datetime import date, datetime
from uuid import UUID

from services.analytics.domain.csv_text import Cell
from services.analytics.domain.local_days import Span
from shared.chassis.postgres import Connection

TRADE_COLUMNS = (
    *("trade_id", "session_id", "mode", "symbol", "side", "strategy_id", "strategy_name", "strategy_hash"),
    *("entry_time", "exit_time", "entry_price", "exit_price", "quantity", "pnl", "pnl_percentage", "fee", "reason"),
)
EXPORT_TRADES = f"""
    SELECT {", ".join(TRADE_COLUMNS)} FROM trade_facts
    WHERE user_id = $1 AND mode = $2 AND exit_time >= $3 AND exit_time < $4 AND (exit_time, trade_id) > ($5, $6)
    ORDER BY exit_time, trade_id LIMIT $7
"""
DAY_COLUMNS = (
    *("date", "timezone", "mode", "starting_balance", "ending_balance", "capital_added", "capital_taken"),
    *("capital_at_work", "pnl", "pnl_percentage", "total_trades", "winning_trades", "losing_trades"),
    *("win_rate_percentage", "max_drawdown_percentage", "sharpe", "volatility"),
)
# The values of the columns that are not stored under their name.
_DAY_VALUES = {
    **{name: f"coalesce((data->>'{name}')::numeric, 0)" for name in ("capital_added", "capital_taken")},
    "pnl": "daily_pnl",
    "pnl_percentage": "daily_pnl_percentage",
    "win_rate_percentage": "win_rate",
    "max_drawdown_percentage": "max_drawdown",
    "sharpe": "sharpe_ratio",
}
EXPORT_DAYS = f"""
    SELECT {", ".join(_DAY_VALUES.get(name, name) for name in DAY_COLUMNS)} FROM user_daily_performance
    WHERE user_id = $1 AND mode = $2 AND date <= $3 AND date > $4 ORDER BY date LIMIT $5
"""


async def list_trades_to_export(
    connection: Connection,
    user_id: int,
    mode: str,
    spans: Sequence[Span],
    after: tuple[datetime, UUID],
    limit: int,
) -> Sequence[Sequence[Cell]]:
    """List trades within the spans, after a position."""
    found: list[Sequence[Cell]] = []
    for begin, end in spans:
        if end > after[0] and len(found) < limit:
            left = limit - len(found)
            found += await connection.fetch(EXPORT_TRADES, user_id, mode, begin, end, *after, left)
    return found


async def list_days_to_export(
    connection: Connection, user_id: int, mode: str, last: date, after: date, limit: int
) -> Sequence[Sequence[Cell]]:
    """List days after `after` and up to `last`, which is inclusive."""
    rows: Sequence[Sequence[Cell]] = await connection.fetch(EXPORT_DAYS, user_id, mode, last, after, limit)
    return rows
