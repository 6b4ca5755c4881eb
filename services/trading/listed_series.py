"""Which series the exchange has: asked before anything is made that would wait for one."""

import time
from collections import OrderedDict

import structlog

from services.trading.bybit_api import VENUE, MarketApi, UnknownSymbol, VenueUnavailable
from services.trading.operations.instruments import learn_instrument
from services.trading.queries import candles
from shared.chassis.postgres import Database
from shared.strategy.bars import INTERVAL_MS, Instrument

KNOWN_FOR_S = 3600.0
UNKNOWN_FOR_S = 30.0
MOST_KNOWN = 10_000

log = structlog.get_logger()


class UnknownInterval(Exception):
    """The exchange lists the symbol and has no candles of it at this interval."""


class Listing:
    """Remembers answers for a while, so that requests of tenants do not become as many to the exchange."""

    def __init__(self, database: Database, api: MarketApi) -> None:
        self._database = database
        self._api = api
        self._answers: OrderedDict[tuple[str, str], tuple[float, type[Exception] | None]] = OrderedDict()

    async def instrument(self, symbol: str) -> Instrument:
        """As the exchange has it now. Raises UnknownSymbol, VenueUnavailable."""
        return await learn_instrument(self._database, self._api, symbol)

    async def refresh(self, symbol: str) -> None:
        """Bring the stored instrument up to date, as far as the exchange answers; else what is stored counts."""
        try:
            await self.instrument(symbol)
        except (UnknownSymbol, VenueUnavailable) as error:
            log.info("instrument_not_refreshed", symbol=symbol, error=repr(error))

    async def check(self, symbol: str, interval: str) -> None:
        """Raises UnknownSymbol, UnknownInterval, VenueUnavailable."""
        known = self._answers.get((symbol, interval))
        if known is not None and time.monotonic() < known[0]:
            if known[1] is not None:
                raise known[1](symbol)
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
        while len(self._answers) > MOST_KNOWN:
            self._answers.popitem(last=False)

    async def _ask(self, symbol: str, interval: str) -> None:
        """A market that has not begun has bars of no interval, and is no fault of this one."""
        await self._api.contract(symbol)
        async with self._database.untenanted() as connection:
            stored = await candles.get_series(connection, VENUE, symbol, interval)
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
        except UnknownSymbol:  # it is listed: the parameter that was refused is the interval
            return False
