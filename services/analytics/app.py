"""Builds the analytics service from its parts."""

from services.analytics.consumers import EVENT_HANDLERS
from services.analytics.jobs import days, months, retention
from services.analytics.market import MarketWatch
from services.analytics.routes.endpoints import analytics_endpoints
from shared.chassis.events.handlers import MarketEventHandler
from shared.chassis.service_types import Context, Service
from shared.contracts.market import CandleClosed
from shared.market.demand import publish_demand
from shared.market.history_client import CandleHistory


def build(context: Context) -> Service:
    database = context.database
    history = CandleHistory(context.settings)
    market = MarketWatch(database, history)
    return Service(
        name="analytics",
        endpoints=analytics_endpoints(database, history),
        handlers=EVENT_HANDLERS,
        market_handlers=[MarketEventHandler(CandleClosed, market.on_candle_closed)],
        jobs=[
            publish_demand(database, "analytics"),
            days(database),
            months(database),
            retention(database),
        ],
    )
