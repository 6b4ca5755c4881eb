"""Repairs gaps in stored candles from the exchange, in the background: other series are stepped meanwhile."""

import asyncio
import time
from datetime import datetime

import structlog

from services.trading.bybit_api import MarketApi, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from services.trading.operations.repair_candles import repair_break, span_around
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

RETRY_AFTER_S = 5.0

log = structlog.get_logger()


class CandleRepairer:
    """Runs one repair at a time for a series; retries wait `RETRY_AFTER_S`."""

    def __init__(self, database: Database, api: MarketApi) -> None:
        self._database = database
        self._api = api
        self._repairs: dict[int, asyncio.Task[None]] = {}
        self._started_at: dict[int, float] = {}

    def repair(self, series_id: int, series: tuple[str, str, int], gap: tuple[datetime, datetime]) -> None:
        """Start the repair of this gap, unless one is running or was started recently."""
        running = self._repairs.get(series_id)
        if running is not None:
            if not running.done():
                return
            running.result()  # raises what ended it: a programming error must not stay hidden
        if time.monotonic() - self._started_at.get(series_id, -RETRY_AFTER_S) < RETRY_AFTER_S:
            return
        self._started_at[series_id] = time.monotonic()
        self._repairs[series_id] = asyncio.create_task(self._repair(series_id, series, gap))

    async def close(self) -> None:
        for task in self._repairs.values():
            task.cancel()
        await asyncio.gather(*self._repairs.values(), return_exceptions=True)
        self._repairs.clear()

    async def _repair(self, series_id: int, series: tuple[str, str, int], gap: tuple[datetime, datetime]) -> None:
        symbol, interval, generation = series
        span = span_around(series_id, generation, gap)
        context = {"symbol": symbol, "interval": interval, "after": str(span.first), "before": str(span.last)}
        try:
            count = await repair_break(self._database, self._api, symbol, interval, span)
        except (*INFRASTRUCTURE_FAULTS, UnknownSymbol, VenueUnavailable) as error:
            log.warning("series_not_mended", **context, error=repr(error))
            return
        if count:
            log.info("series_mended", **context, count=count)
        else:
            log.error("series_not_mended", **context, error="the exchange does not have the missing bar either")
