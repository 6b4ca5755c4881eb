"""Sums over trades by symbol and by strategy, computed exactly in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from services.analytics.domain.local_days import Span
from services.analytics.domain.summary import Sums
from services.analytics.queries.facts import ends_of
from shared.chassis.postgres import Connection

_SUMS = """
    count(*) AS trades, count(*) FILTER (WHERE pnl > 0) AS winning_trades,
    count(*) FILTER (WHERE pnl < 0) AS losing_trades, sum(pnl) AS pnl, sum(fee) AS fees,
    coalesce(sum(pnl) FILTER (WHERE pnl > 0), 0) AS gains,
    coalesce(-sum(pnl) FILTER (WHERE pnl < 0), 0) AS losses, max(pnl) AS best_trade, min(pnl) AS worst_trade
"""
_TRADES = """
    FROM unnest($3::timestamptz[], $4::timestamptz[]) AS span(since, until)
    JOIN trade_facts ON user_id = $1 AND mode = $2 AND exit_time >= since AND exit_time < until
"""
LIST_BY_SYMBOL = f"SELECT symbol, {_SUMS} {_TRADES} GROUP BY symbol ORDER BY symbol"
LIST_BY_STRATEGY = f"""
    SELECT strategy_id, (array_agg(strategy_name ORDER BY exit_time DESC, trade_id DESC))[1] AS strategy_name,
           {_SUMS}
    {_TRADES} GROUP BY strategy_id ORDER BY strategy_id
"""


@dataclass(frozen=True)
class SymbolSums:
    symbol: str
    sums: Sums


@dataclass(frozen=True)
class StrategySums:
    """Sums of a strategy, with the name it had when its last trade closed."""

    strategy_id: UUID
    strategy_name: str
    sums: Sums


async def list_by_symbol(
    connection: Connection, user_id: int, mode: str, spans: Sequence[Span]
) -> list[SymbolSums]:
    rows = await connection.fetch(LIST_BY_SYMBOL, user_id, mode, *ends_of(spans))
    return [SymbolSums(symbol, Sums(*sums)) for symbol, *sums in rows]


async def list_by_strategy(
    connection: Connection, user_id: int, mode: str, spans: Sequence[Span]
) -> list[StrategySums]:
    rows = await connection.fetch(LIST_BY_STRATEGY, user_id, mode, *ends_of(spans))
    return [StrategySums(strategy_id, name, Sums(*sums)) for strategy_id, name, *sums in rows]
