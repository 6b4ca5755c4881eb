"""A feed that kills itself at a given point: `python -m … before|after MINUTE`."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence

from services.trading.feed.feed import Feed
from services.trading.settings import TradingSettings
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import Database
from shared.contracts.envelope import MarketEvent
from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from tests.integration.feed.exchange import FIRST_MS, MINUTE_MS


class DyingProducer(Producer):
    """Kill the process before or after publishing: the bar is stored by then, and not yet marked as announced."""

    moment: str
    minute: int

    async def publish(self, events: Sequence[MarketEvent]) -> None:
        last = any(
            isinstance(event, CandleClosed) and to_ms(event.open_time) == FIRST_MS + self.minute * MINUTE_MS
            for event in events
        )
        if last and self.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super().publish(events)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    settings = TradingSettings()
    producer = DyingProducer(settings.kafka_bootstrap, settings.kafka_topic_prefix, "trading")
    producer.moment, producer.minute = sys.argv[1], int(sys.argv[2])
    database = await Database.connect(settings)
    await Feed(database, producer, settings).run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
