"""Refuses a series that the exchange does not have, before anything waits for it."""

from typing import NamedTuple

from services.trading.bybit_api import UnknownSymbol
from services.trading.exchange.venue import VenueUnavailable
from services.trading.listed_series import Listing, UnknownInterval
from shared.chassis.errors import ExchangeUnreachable, InvalidInput


class FieldFault(NamedTuple):
    path: str
    reason: str


async def check_series(
    listing: Listing, symbol: str, interval: str, interval_fault: FieldFault | None = None
) -> None:
    """Check that the exchange has the series. Raises InvalidInput, ExchangeUnreachable.

    `interval_fault` is the fault to report for an unknown interval; by default it points to `$.interval`.
    """
    try:
        await listing.check(symbol, interval)
    except UnknownSymbol as error:
        raise unknown_symbol() from error
    except UnknownInterval as error:
        default = FieldFault("$.interval", f"the exchange has no candles of {symbol} at this interval")
        raise InvalidInput(errors=[(interval_fault or default)._asdict()]) from error
    except VenueUnavailable as error:
        raise ExchangeUnreachable from error


def unknown_symbol() -> InvalidInput:
    fault = FieldFault("$.symbol", "the exchange lists no such linear contract")
    return InvalidInput(errors=[fault._asdict()])
