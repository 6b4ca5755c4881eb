"""Which accounts are reconciled with the exchange, and what the database knows of an account."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from shared.chassis.postgres import Connection


def is_reconciled(user_id: str, account_id: str) -> str:
    """Return the SQL condition that the account of these expressions is reconciled; see migration 0250."""
    return f"""EXISTS (
        SELECT FROM account_reconciliations AS c
        WHERE c.user_id = {user_id} AND c.exchange_account_id = {account_id}
              AND c.xmin = c.written_by AND c.server_started = pg_postmaster_start_time())"""


async def find_reconciled(connection: Connection, user_id: int, account_id: UUID) -> datetime | None:
    """Return when the account was reconciled; None if it is not since the database was started or restored."""
    reconciled_at: datetime | None = await connection.fetchval(
        f"""
        SELECT r.reconciled_at FROM account_reconciliations AS r
        WHERE r.user_id = $1 AND r.exchange_account_id = $2 AND {is_reconciled("$1", "$2")}
        """,
        user_id,
        account_id,
    )
    return reconciled_at


async def set_reconciled(connection: Connection, user_id: int, account_id: UUID) -> None:
    """Must not run within a savepoint: xmin would be its id."""
    await connection.execute(
        """
        INSERT INTO account_reconciliations AS r (user_id, exchange_account_id) VALUES ($1, $2)
        ON CONFLICT (user_id, exchange_account_id) DO UPDATE SET reconciled_at = excluded.reconciled_at,
            server_started = excluded.server_started, written_by = excluded.written_by
        """,
        user_id,
        account_id,
    )


@dataclass(frozen=True)
class TradingSession:
    """A running session of an account. `position`: what the exchange should show for it; negative if short."""

    symbol: str
    start_time: datetime
    ignored_orders: Sequence[str]
    position: Decimal


async def list_trading(connection: Connection, user_id: int, account_id: UUID) -> list[TradingSession]:
    """List the account's sessions that are not stopped. A position is the open trade, and what is not the session's
    own: executions that await an answer, and the quantity that a person lets stand."""
    rows = await connection.fetch(
        """
        SELECT s.symbol, s.start_time, s.ignored_orders,
               s.ignored_quantity + coalesce(own.quantity, 0) + coalesce(strange.quantity, 0) AS position
        FROM user_trading_sessions AS s
        CROSS JOIN LATERAL (
            SELECT sum(CASE t.side WHEN 'SHORT' THEN -1 ELSE 1 END * (t.quantity - t.closed_quantity)) AS quantity
            FROM user_trades AS t
            WHERE t.user_id = s.user_id AND t.session_id = s.session_id AND t.status = 'OPEN') AS own
        CROSS JOIN LATERAL (
            SELECT sum(CASE e.side WHEN 'SELL' THEN -1 ELSE 1 END * e.part) AS quantity FROM executions AS e
            WHERE e.user_id = s.user_id AND e.session_id = s.session_id AND e.effect = 'foreign' AND e.part > 0
        ) AS strange
        WHERE s.user_id = $1 AND s.exchange_account_id = $2 AND s.status <> 'STOPPED'
        """,
        user_id,
        account_id,
    )
    return [TradingSession(**row) for row in rows]


async def find_horizon(connection: Connection, user_id: int, account_id: UUID) -> datetime | None:
    """Return the time, by the exchange's clock, until which the database knows the account's orders: of the last
    one, or of the first start of a running session. None without either."""
    horizon: datetime | None = await connection.fetchval(
        """
        SELECT greatest((SELECT max(coalesce(i.sent_at, i.created_at)) FROM order_intents AS i
                         WHERE i.user_id = $1 AND i.exchange_account_id = $2),
                        (SELECT min(s.start_time) FROM user_trading_sessions AS s
                         WHERE s.user_id = $1 AND s.exchange_account_id = $2 AND s.status <> 'STOPPED'))
        """,
        user_id,
        account_id,
    )
    return horizon


async def list_known_executions(connection: Connection, user_id: int, ids: Sequence[str]) -> frozenset[str]:
    """Return those of the executions that are recorded, funding included."""
    rows = await connection.fetch(
        """
        SELECT execution_id FROM executions WHERE user_id = $1 AND execution_id = ANY ($2::text[])
        UNION SELECT execution_id FROM funding_payments WHERE user_id = $1 AND execution_id = ANY ($2::text[])
        """,
        user_id,
        ids,
    )
    return frozenset(row["execution_id"] for row in rows)
