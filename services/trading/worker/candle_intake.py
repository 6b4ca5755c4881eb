"""The intake of candle events: parks records that cannot be decoded, and candles that cannot be stepped."""

from collections.abc import Awaitable, Callable, Sequence

from shared.chassis.errors import PoisonError
from shared.chassis.events.decoding import Received
from shared.chassis.events.inbox import MarketInbox
from shared.chassis.events.parked_rows import list_waiting_topics
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed, CandleOpened

CONSUMER = "trading-worker"

Candle = CandleOpened | CandleClosed


class CandleIntake:
    """Does not keep order: a series reads the bars it missed from the stored candles."""

    def __init__(self, database: Database, step: Callable[[Sequence[Candle]], Awaitable[None]]) -> None:
        self._database = database
        self._inboxes = {
            event.topic: MarketInbox[Candle](database, CONSUMER, event, step, in_order=False)
            for event in (CandleOpened, CandleClosed)
        }

    async def admit(self, received: Sequence[Received]) -> list[Received]:
        """Park records that are not candles; return the others."""
        if any(record.event is None for record in received):
            for topic, inbox in self._inboxes.items():
                await inbox.admit([record for record in received if record.topic == topic])
        return [record for record in received if isinstance(record.event, Candle)]

    async def park(self, record: Received, error: Exception) -> None:
        await self._inboxes[record.topic].park(record, error)

    async def retry_parked(self) -> None:
        for topic in await list_waiting_topics(self._database, [CONSUMER]):
            await self._inboxes[topic].retry_parked()


def check_bar(candle: Candle) -> None:
    """Raise PoisonError if prices or volume are impossible."""
    if candle.open <= 0:
        raise PoisonError("open: must be above 0")
    if isinstance(candle, CandleClosed) and not (
        0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        and candle.volume >= 0
    ):
        raise PoisonError("open, high, low, close, volume: not a valid bar")
