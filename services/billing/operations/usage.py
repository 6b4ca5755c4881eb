"""Trades are booked, each once."""

from collections.abc import Sequence
from datetime import datetime

from services.billing.operations.thresholds import Used, say_thresholds
from services.billing.queries import subscriptions, usage
from services.billing.queries.usage import UsedTrade
from shared.chassis.postgres import Connection
from shared.contracts.trading import TradeClosed


async def book_usage(connection: Connection, events: Sequence[TradeClosed], now: datetime) -> None:
    """Each trade once, in the period in which it was said to be closed."""
    users = sorted({event.user_id for event in events})
    public_ids = await subscriptions.lock_subscribers(connection, users)
    await usage.insert_usage(
        connection,
        [
            UsedTrade(
                user_id=event.user_id,
                trade_id=event.trade_id,
                session_id=event.session_id,
                mode="PAPER" if event.is_paper_trade else "LIVE",
                occurred_at=event.said_at or now,
            )
            for event in events
        ],
    )
    counted = await usage.update_period_trades(connection, users)
    await say_thresholds(
        connection,
        [Used(each.user_id, "trades", each.trades, each.limit, each.period) for each in counted],
        public_ids,
        now,
    )
