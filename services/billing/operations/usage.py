"""Book closed trades, each once."""

from collections.abc import Sequence
from datetime import datetime

from services.billing.operations.thresholds import MeterReading, publish_thresholds
from services.billing.queries import subscriptions, usage
from services.billing.queries.usage import UsedTrade
from shared.chassis.postgres import Connection
from shared.contracts.trading import TradeClosed


async def book_usage(connection: Connection, events: Sequence[TradeClosed], now: datetime) -> None:
    """Book each trade once, at the time its `trade.closed` was published."""
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
                occurred_at=event.published_at or now,
            )
            for event in events
        ],
    )
    counted = await usage.update_period_trades(connection, users)
    await publish_thresholds(
        connection,
        [MeterReading(each.user_id, "trades", each.trades, each.limit, each.period) for each in counted],
        public_ids,
        now,
    )
