"""A candle of a series that trading's history refuses is given up; it is not taken for an outage and retried."""

from collections.abc import Callable, Mapping

import pytest

from services.analytics.market import MarketWatch
from services.notifications.alert_evaluator import Evaluator
from shared.chassis.events.inbox import MarketInbox
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from shared.contracts.market import CandleClosed
from shared.contracts.types import from_ms, new_id
from shared.market.demand import insert_demand
from shared.market.history_client import CandleHistory
from tests.integration.chassis.test_one_message import candle, list_parked, received
from tests.integration.trading.callers import Api

CONSUMERS: Mapping[str, type[MarketWatch] | type[Evaluator]] = {
    "analytics": MarketWatch,
    "notifications": Evaluator,
}
# Each has the id and the key that belong to it, so that it is decoded.
REFUSED = [
    candle(generation=2**31),
    candle(symbol="BTC-USDT"),
    candle("7"),
    candle(open_time=from_ms(-900_000), generation=2),
]


@pytest.mark.parametrize("service", CONSUMERS)
async def test_a_candle_that_the_history_refuses_is_given_up_at_once(
    api_without_worker: Api, service_env: Callable[[str], dict[str, str]], service: str
) -> None:
    values: dict[str, object] = {name.lower(): value for name, value in service_env(service).items()}
    where = {"service": service, "trading_internal_url": api_without_worker.running.internal_url}
    settings = ServiceSettings.model_validate({**values, **where})
    database = await Database.connect(settings)
    consumer = CONSUMERS[service](database, CandleHistory(settings))
    inbox = MarketInbox(database, f"{service}-market", CandleClosed, consumer.on_candle_closed)
    async with database.tenant(1) as connection:
        for each in REFUSED:
            await insert_demand(connection, 1, new_id(), each.symbol, each.interval)
    await inbox.process([received(each, offset) for offset, each in enumerate(REFUSED)])
    parked = await list_parked(database)
    await database.close()
    reason = "trading's history refuses the series: 422"
    assert sorted(parked) == sorted((each.series, "DEAD", reason) for each in REFUSED)
