"""Event handlers of billing."""

from collections.abc import Sequence

from services.billing.operations.requests import book_requests
from services.billing.operations.subscriptions import begin_subscription
from services.billing.operations.usage import book_usage
from shared.chassis.clock import utc_now
from shared.chassis.events.handlers import EventHandler
from shared.chassis.postgres import Connection
from shared.contracts.auth import UserRegistered
from shared.contracts.billing import UsageRecorded
from shared.contracts.trading import TradeClosed


async def on_user_registered(connection: Connection, events: Sequence[UserRegistered]) -> None:
    for event in sorted(events, key=lambda each: each.user_id):  # days are locked by user; see `lock_days`
        await begin_subscription(connection, event, utc_now())


async def on_trade_closed(connection: Connection, events: Sequence[TradeClosed]) -> None:
    await book_usage(connection, events, utc_now())


async def on_usage_recorded(connection: Connection, events: Sequence[UsageRecorded]) -> None:
    await book_requests(connection, events, utc_now())


EVENT_HANDLERS = (
    EventHandler(UserRegistered, on_user_registered),
    EventHandler(TradeClosed, on_trade_closed),
    EventHandler(UsageRecorded, on_usage_recorded),
)
