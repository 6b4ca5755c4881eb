"""The wiring of notifications."""

from services.notifications.consumers import SUBSCRIPTIONS
from services.notifications.evaluator import Evaluator
from services.notifications.routes import Routes
from shared.chassis.history import CandleHistory
from shared.chassis.interest import publish_interests
from shared.chassis.kafka import MarketSubscription
from shared.chassis.service_types import Context, Service
from shared.contracts.market import CandleClosed


def build(context: Context) -> Service:
    database = context.database
    evaluator = Evaluator(database, CandleHistory(context.settings))
    return Service(
        name="notifications",
        endpoints=Routes(database).endpoints(),
        subscriptions=SUBSCRIPTIONS,
        market_subscriptions=[MarketSubscription(CandleClosed, evaluator.on_candle_closed)],
        jobs=[publish_interests(database, "notifications")],
    )
