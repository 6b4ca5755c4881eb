"""Fetches from the exchange what is missing from stored candles, while the series that are whole are stepped."""

import asyncio
import time
from datetime import datetime

import structlog

from services.trading.bybit_api import MarketApi, UnknownSymbol, VenueUnavailable
from services.trading.operations.repair_candles import mend_between, span_around
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

AGAIN_S = 5.0

log = structlog.get_logger()


class Mender:
    """One try at a time for a series, the next one a little later."""

    def __init__(self, database: Database, api: MarketApi) -> None:
        self._database = database
        self._api = api
        self._tries: dict[int, asyncio.Task[None]] = {}
        self._begun_at: dict[int, float] = {}

    def mend(self, series_id: int, series: tuple[str, str, int], broken: tuple[datetime, datetime]) -> None:
        """Have this break looked at, if it is not already."""
        running = self._tries.get(series_id)
        if running is not None:
            if not running.done():
                return
            running.result()  # a fault of ours is not to be hidden
        if time.monotonic() - self._begun_at.get(series_id, -AGAIN_S) < AGAIN_S:
            return
        self._begun_at[series_id] = time.monotonic()
        self._tries[series_id] = asyncio.create_task(self._try(series_id, series, broken))

    async def close(self) -> None:
        for task in self._tries.values():
            task.cancel()
        await asyncio.gather(*self._tries.values(), return_exceptions=True)
        self._tries.clear()

    async def _try(self, series_id: int, series: tuple[str, str, int], broken: tuple[datetime, datetime]) -> None:
        symbol, interval, generation = series
        span = span_around(series_id, generation, broken)
        named = {"symbol": symbol, "interval": interval, "after": str(span.first), "before": str(span.last)}
        try:
            count = await mend_between(self._database, self._api, symbol, interval, span)
        except (*INFRASTRUCTURE_FAULTS, UnknownSymbol, VenueUnavailable) as error:
            log.warning("series_not_mended", **named, error=repr(error))
            return
        if count:
            log.info("series_mended", **named, count=count)
        else:
            log.error("series_not_mended", **named, error="the exchange does not have the missing bar either")
