"""The trades of a session as its drift needs them: with the bar that decided them and the time of their entry."""

from uuid import UUID

from services.trading.drift import LiveTrade
from shared.chassis.postgres import Connection
from shared.contracts.types import to_ms

TRADES = """
    SELECT t.*, (SELECT coalesce(sum(p.amount), 0) FROM funding_payments AS p
                 WHERE p.user_id = t.user_id AND p.trade_id = t.trade_id) AS funding,
           entry.bar, entry.executed_at
    FROM user_trades AS t LEFT JOIN LATERAL (
        SELECT min(i.bar) AS bar, min(e.time) AS executed_at
        FROM fills AS f
             LEFT JOIN order_intents AS i ON i.user_id = f.user_id AND i.intent_id = f.intent_id
             LEFT JOIN executions AS e
                ON e.user_id = f.user_id AND e.execution_id = f.execution_id AND e.effect = 'entry'
        WHERE f.user_id = t.user_id AND f.session_id = t.session_id AND f.trade_id = t.trade_id
              AND f.action = 'open'
    ) AS entry ON true
    WHERE t.user_id = $1 AND t.session_id = $2
    ORDER BY t.entry_time, t.trade_id
"""


async def list_live_trades(
    connection: Connection, user_id: int, session_id: UUID
) -> tuple[list[LiveTrade], int | None]:
    """Return the closed trades, and the bar that decided the entry of the open one."""
    closed: list[LiveTrade] = []
    open_decided_ms = None
    for row in await connection.fetch(TRADES, user_id, session_id):
        decided_ms = to_ms(row["bar"]) if row["bar"] else None
        if row["status"] == "OPEN":
            open_decided_ms = decided_ms
            continue
        closed.append(
            LiveTrade(
                trade_id=row["trade_id"],
                side=row["side"],
                decided_ms=decided_ms,
                entry_ms=to_ms(row["entry_time"]),
                exit_ms=to_ms(row["exit_time"]),
                quantity=row["quantity"],
                entry_price=row["entry_price"],
                exit_price=row["exit_price"],
                fees=row["fee"],
                funding=row["funding"],
                pnl=row["pnl"],
                executed_ms=to_ms(row["executed_at"]) if row["executed_at"] else None,
            )
        )
    return closed, open_decided_ms
