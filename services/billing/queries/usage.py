"""The usage ledger."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from services.billing.domain import Period, Usage
from shared.chassis.postgres import Connection


@dataclass(frozen=True)
class UsedTrade:
    user_id: int
    trade_id: UUID
    session_id: UUID
    mode: str
    occurred_at: datetime


async def insert_usage(connection: Connection, trades: Sequence[UsedTrade]) -> None:
    """Book trades; a trade that is delivered again is not booked twice."""
    await connection.execute(
        """
        INSERT INTO usage_ledger (user_id, trade_id, session_id, mode, occurred_at)
        SELECT * FROM unnest($1::bigint[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[])
        ON CONFLICT DO NOTHING
        """,
        [trade.user_id for trade in trades],
        [trade.trade_id for trade in trades],
        [trade.session_id for trade in trades],
        [trade.mode for trade in trades],
        [trade.occurred_at for trade in trades],
    )


@dataclass(frozen=True)
class PeriodTrades:
    """The trades of a live subscription in its current period."""

    user_id: int
    trades: int
    limit: int | None
    period: Period


async def update_period_trades(connection: Connection, user_ids: Sequence[int]) -> list[PeriodTrades]:
    """Recount the current periods of these users from the ledger."""
    rows = await connection.fetch(
        """
        UPDATE user_subscriptions s
        SET current_period_trades = (
            SELECT count(*) FROM usage_ledger l
            WHERE l.user_id = s.user_id
              AND l.occurred_at >= s.current_period_start AND l.occurred_at < s.current_period_end)
        FROM subscription_plans p
        WHERE p.plan_id = s.plan_id AND s.user_id = ANY ($1) AND s.status IN ('ACTIVE', 'TRIAL', 'PAST_DUE')
        RETURNING s.user_id, s.current_period_trades, p.max_trades_per_month, s.current_period_start,
                  s.current_period_end
        """,
        user_ids,
    )
    return [PeriodTrades(row[0], row[1], row[2], Period(row[3], row[4])) for row in rows]


COUNT_USAGE = """
    SELECT count(*) FILTER (WHERE mode = 'PAPER') AS paper, count(*) FILTER (WHERE mode = 'LIVE') AS live
    FROM usage_ledger WHERE user_id = $1 AND occurred_at >= $2 AND occurred_at < $3
"""


async def count_usage(connection: Connection, user_id: int, period: Period) -> Usage:
    row = await connection.fetchrow(COUNT_USAGE, user_id, period.start, period.end)
    assert row is not None
    return Usage(paper_trades=row["paper"], live_trades=row["live"])
