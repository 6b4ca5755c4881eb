"""Builds the notifications service from its parts."""

from services.notifications.alert_evaluator import Evaluator
from services.notifications.consumers import EVENT_HANDLERS
from services.notifications.jobs import retention
from services.notifications.routes.alerts import AlertRoutes
from services.notifications.routes.inbox import InboxRoutes
from shared.chassis.events.handlers import MarketEventHandler
from shared.chassis.service_types import Context, Service
from shared.contracts.market import CandleClosed
from shared.market.demand import publish_demand
from shared.market.history_client import CandleHistory


def build(context: Context) -> Service:
    database = context.database
    history = CandleHistory(context.settings)
    evaluator = Evaluator(database, history)
    return Service(
        name="notifications",
        endpoints=[*AlertRoutes(database, history).endpoints(), *InboxRoutes(database).endpoints()],
        handlers=EVENT_HANDLERS,
        market_handlers=[MarketEventHandler(CandleClosed, evaluator.on_candle_closed)],
        jobs=[
            publish_demand(database, "notifications"),
            retention(database),
        ],
    )
