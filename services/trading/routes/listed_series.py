"""Refuse a series that the exchange does not have, before anything waits for it."""

from typing import NamedTuple

from services.trading.bybit_api import UnknownSymbol, VenueUnavailable
from services.trading.listed_series import Listing, UnknownInterval
from shared.chassis.errors import InvalidInput, Unavailable


class FieldFault(NamedTuple):
    path: str
    reason: str


async def check_series(listing: Listing, symbol: str, interval: str, of_interval: FieldFault | None = None) -> None:
    """`of_interval` names where the interval comes from, by default `$.interval`.

    Raises InvalidInput, Unavailable.
    """
    try:
        await listing.check(symbol, interval)
    except UnknownSymbol as error:
        raise unknown_symbol() from error
    except UnknownInterval as error:
        own = FieldFault("$.interval", f"the exchange has no candles of {symbol} at this interval")
        raise InvalidInput(errors=[(of_interval or own)._asdict()]) from error
    except VenueUnavailable as error:
        raise no_answer() from error


def unknown_symbol() -> InvalidInput:
    fault = FieldFault("$.symbol", "the exchange lists no such linear contract")
    return InvalidInput(errors=[fault._asdict()])


def no_answer() -> Unavailable:
    return Unavailable("the exchange does not answer at the moment", retry_after_s=2)
