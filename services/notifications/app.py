"""The wiring of notifications."""

from functools import partial

from services.notifications.alert_evaluator import Evaluator
from services.notifications.consumers import EVENT_HANDLERS
from services.notifications.jobs import forget_the_old
from services.notifications.routes.alerts import AlertRoutes
from services.notifications.routes.inbox import InboxRoutes
from shared.chassis.events.handlers import MarketEventHandler
from shared.chassis.service_types import Context, Job, Service
from shared.contracts.market import CandleClosed
from shared.market.demand import publish_interests
from shared.market.history_client import CandleHistory


def build(context: Context) -> Service:
    database = context.database
    history = CandleHistory(context.settings)
    evaluator = Evaluator(database, history)
    return Service(
        name="notifications",
        endpoints=[*AlertRoutes(database, history).endpoints(), *InboxRoutes(database).endpoints()],
        subscriptions=EVENT_HANDLERS,
        market_subscriptions=[MarketEventHandler(CandleClosed, evaluator.on_candle_closed)],
        jobs=[
            publish_interests(database, "notifications"),
            Job("keeping", partial(forget_the_old, database)),
        ],
    )
