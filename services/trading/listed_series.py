"""Checks that the exchange has a series, before anything is created that would wait for it."""

import time
from collections import OrderedDict

import structlog

from services.trading.bybit_api import VENUE, MarketApi, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from services.trading.operations.instruments import refresh_instrument
from services.trading.queries import candles
from shared.chassis.postgres import Database
from shared.strategy.bars import INTERVAL_MS, Instrument

KNOWN_FOR_S = 3600.0
UNKNOWN_FOR_S = 30.0
MAX_ANSWERS = 10_000

log = structlog.get_logger()


class UnknownInterval(Exception):
    """The exchange lists the symbol but has no candles of it at this interval."""


class Listing:
    """Caches answers, so that requests of tenants do not cause as many requests to the exchange."""

    def __init__(self, database: Database, api: MarketApi) -> None:
        self._database = database
        self._api = api
        self._answers: OrderedDict[tuple[str, str], tuple[float, type[Exception] | None]] = OrderedDict()

    async def instrument(self, symbol: str) -> Instrument:
        """Return the exchange's current instrument. Raises UnknownSymbol, VenueUnavailable."""
        return await refresh_instrument(self._database, self._api, symbol)

    async def refresh(self, symbol: str) -> None:
        """Update the stored instrument; keep it as it is if the exchange does not answer or list the symbol."""
        try:
            await self.instrument(symbol)
        except (UnknownSymbol, VenueUnavailable) as error:
            log.info("instrument_not_refreshed", symbol=symbol, error=repr(error))

    async def check(self, symbol: str, interval: str) -> None:
        """Check that the exchange has this series. Raises UnknownSymbol, UnknownInterval, VenueUnavailable."""
        cached = self._answers.get((symbol, interval))
        if cached is not None and time.monotonic() < cached[0]:
            if cached[1] is not None:
                raise cached[1](symbol)
            return
        try:
            await self._ask(symbol, interval)
        except (UnknownSymbol, UnknownInterval) as error:
            self._remember(symbol, interval, type(error), UNKNOWN_FOR_S)
            raise
        self._remember(symbol, interval, None, KNOWN_FOR_S)

    def _remember(self, symbol: str, interval: str, fault: type[Exception] | None, for_s: float) -> None:
        self._answers[symbol, interval] = (time.monotonic() + for_s, fault)
        self._answers.move_to_end((symbol, interval))
        while len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)

    async def _ask(self, symbol: str, interval: str) -> None:
        """Ask the exchange. A market that has not begun has no bars at any interval, which is no fault."""
        await self._api.instrument(symbol)
        async with self._database.untenanted() as connection:
            stored = await candles.find_series(connection, VENUE, symbol, interval)
        if stored is not None and stored.anchor is not None:
            return
        if await self._has_bars(symbol, interval):
            return
        for other in INTERVAL_MS:
            if other != interval and await self._has_bars(symbol, other):
                raise UnknownInterval(symbol)

    async def _has_bars(self, symbol: str, interval: str) -> bool:
        try:
            return await self._api.has_bars(symbol, interval)
        except UnknownSymbol:  # the symbol is listed, so the refused parameter is the interval
            return False
