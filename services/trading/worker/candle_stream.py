"""The candles that a worker reads, and the events that interrupt its waiting for them."""

import asyncio

from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import PartitionReader

READ_WAIT_MS = 1_000


class CandleStream:
    """Waits for candles, but not longer than until something else is to be done; a read continues meanwhile."""

    def __init__(self, reader: PartitionReader, stop: asyncio.Event, woken: asyncio.Event) -> None:
        self._reader = reader
        self._interrupts = (stop, woken)
        self._reading: asyncio.Task[list[Received]] | None = None

    async def next(self, within_s: float) -> list[Received]:
        """Return the next candles; none after `within_s` seconds, or if an event is set. Raises KafkaError."""
        reading = self._reading = self._reading or asyncio.create_task(self._reader.read(READ_WAIT_MS))
        interrupts = [asyncio.create_task(event.wait()) for event in self._interrupts]
        try:
            await asyncio.wait([reading, *interrupts], timeout=max(within_s, 0), return_when="FIRST_COMPLETED")
        finally:
            for interrupt in interrupts:
                interrupt.cancel()
        if not reading.done():
            return []
        self._reading = None
        return reading.result()

    async def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.gather(self._reading, return_exceptions=True)
