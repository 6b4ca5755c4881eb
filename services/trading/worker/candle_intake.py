"""The candles that a worker reads: those that are none are set aside, and those that cannot be stepped."""

from collections.abc import Awaitable, Callable, Sequence

from shared.chassis.errors import PoisonError
from shared.chassis.events.decoding import Received
from shared.chassis.events.inbox import MarketInbox
from shared.chassis.postgres import Database
from shared.contracts.market import CandleClosed, CandleOpened

CONSUMER = "trading-worker"

Candle = CandleOpened | CandleClosed


class CandleIntake:
    """Without order: what a series has missed is taken from the stored candles."""

    def __init__(self, database: Database, step: Callable[[Sequence[Candle]], Awaitable[None]]) -> None:
        self._inboxes = {
            event.topic: MarketInbox[Candle](database, CONSUMER, event, step, in_order=False)
            for event in (CandleOpened, CandleClosed)
        }

    async def take(self, received: Sequence[Received]) -> list[Received]:
        """Those that are candles."""
        if any(one.event is None for one in received):
            for topic, inbox in self._inboxes.items():
                await inbox.take([one for one in received if one.topic == topic])
        return [one for one in received if isinstance(one.event, Candle)]

    async def park(self, one: Received, error: Exception) -> None:
        await self._inboxes[one.topic].park(one, error)

    async def retry_parked(self) -> None:
        for inbox in self._inboxes.values():
            await inbox.retry_parked()


def check_bar(candle: Candle) -> None:
    """Raises PoisonError for prices that no market has."""
    if candle.open <= 0:
        raise PoisonError("open: is not above 0")
    if isinstance(candle, CandleClosed) and not (
        0 < candle.low <= min(candle.open, candle.close) <= max(candle.open, candle.close) <= candle.high
        and candle.volume >= 0
    ):
        raise PoisonError("open, high, low, close, volume: are no bar's")
