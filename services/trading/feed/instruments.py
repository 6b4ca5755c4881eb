"""Refresh the stored instruments of followed symbols: exchanges change tick sizes and quantity steps."""

import asyncio
from collections.abc import Callable

import structlog

from services.trading.bybit_api import MarketApi, UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from services.trading.operations.instruments import refresh_instrument
from shared.chassis.pause import pause
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Database

log = structlog.get_logger()


async def refresh_instruments(
    database: Database, api: MarketApi, symbols: Callable[[], set[str]], every_s: float, over: asyncio.Event
) -> None:
    """Ask the exchange every `every_s` seconds until `over` is set. A failed symbol is retried the next time."""
    while not over.is_set():
        await pause(over, every_s)
        for symbol in sorted(symbols()):
            if over.is_set():
                return
            try:
                await refresh_instrument(database, api, symbol)
            except (*INFRASTRUCTURE_FAULTS, UnknownSymbol, VenueUnavailable) as error:
                log.warning("instrument_not_refreshed", symbol=symbol, error=repr(error))
