"""Bybit's public market data by REST.

pybit is synchronous, so calls run in threads of our own; timeouts and retries are ours too. A response of any shape
either gives the declared return value or raises one of two errors.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from pydantic import TypeAdapter

from services.trading.exchange.symbol_state import Contract
from services.trading.exchange.venue import VenueUnavailable
from shared.contracts.types import Amount, from_ms
from shared.market.bars import NotABar, check_time, enclose_body
from shared.strategy.bars import INTERVAL_MS, Bar, Instrument

VENUE = "bybit"
CATEGORY = "linear"
THREADS = 4
TIMEOUT_S = 5
KLINE_LIMIT = 1_000
END_OF_TIME_MS = 4_102_444_800_000  # 2100
NO_SUCH_CODE = -1  # an empty set of codes to retry would be replaced by pybit's own
PARAMS_ERROR = 10001
# Raised when a response does not have the documented shape.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
PYBIT_FAULTS = (FailedRequestError, requests.RequestException, *UNREADABLE)

T = TypeVar("T")
_AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)


class NotBars(VenueUnavailable):
    """The exchange answered with an invalid bar. An immediate retry would get the same answer."""


class UnknownSymbol(Exception):
    """The exchange does not know this symbol."""


class MarketApi:
    """REST client. Every method may raise VenueUnavailable or UnknownSymbol."""

    def __init__(self, rest_url: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bybit")
        self._http = HTTP(max_retries=1, retry_codes={NO_SUCH_CODE}, timeout=TIMEOUT_S)
        if rest_url:
            self._http.endpoint = rest_url

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.client.close()  # pybit leaves its pooled connections open

    async def server_time(self) -> datetime:
        """Return the exchange's current time."""
        return await self._ask(
            lambda result: from_ms(int(result["timeNano"]) // 1_000_000), self._http.get_server_time
        )

    async def instrument(self, symbol: str) -> Instrument:
        def read(result: Any) -> Instrument:  # Any: JSON
            if not result["list"]:
                raise UnknownSymbol(symbol)
            prices, lots = result["list"][0]["priceFilter"], result["list"][0]["lotSizeFilter"]
            steps = (prices["tickSize"], lots["qtyStep"], lots["minOrderQty"], lots["minNotionalValue"])
            return Instrument(*map(_AMOUNT.validate_python, steps))

        return await self._ask(read, self._http.get_instruments_info, category=CATEGORY, symbol=symbol)

    async def contract(self, symbol: str) -> Contract:
        def read(result: Any) -> Contract:  # Any: JSON
            if not result["list"]:
                raise UnknownSymbol(symbol)
            row = result["list"][0]
            return Contract(
                contract_type=str(row["contractType"]),
                settle_coin=str(row["settleCoin"]),
                status=str(row["status"]),
                symbol_type=str(row.get("symbolType", "")),
                max_leverage=_AMOUNT.validate_python(row["leverageFilter"]["maxLeverage"]),
                max_order_quantity=_AMOUNT.validate_python(row["lotSizeFilter"]["maxMktOrderQty"]),
            )

        return await self._ask(read, self._http.get_instruments_info, category=CATEGORY, symbol=symbol)

    async def bars(self, symbol: str, interval: str, **window: int) -> list[Bar]:
        """Return up to 1,000 bars, ascending; the last may still be open. `window`: start, end in ms, inclusive."""
        return await self._ask(
            lambda result: _ascending([parse_bar(*row[:6], interval=interval) for row in reversed(result["list"])]),
            self._http.get_kline,
            category=CATEGORY,
            symbol=symbol,
            interval=interval,
            limit=KLINE_LIMIT,
            **window,
        )

    async def has_bars(self, symbol: str, interval: str) -> bool:
        """Return whether the exchange has any bar of this series."""
        window = {"start": 0, "end": END_OF_TIME_MS, "limit": 1}
        return await self._ask(
            lambda result: bool(result["list"]),
            self._http.get_kline,
            category=CATEGORY,
            symbol=symbol,
            interval=interval,
            **window,
        )

    async def _ask(self, read: Callable[[Any], T], method: Callable[..., Any], **query: object) -> T:  # Any: JSON
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, lambda: method(**query))
            return read(answer["result"])
        except InvalidRequestError as error:
            if error.status_code == PARAMS_ERROR and "symbol" in query:
                raise UnknownSymbol(str(query["symbol"])) from error
            raise VenueUnavailable(f"{error.status_code} {error.message}") from error
        except NotABar as error:
            raise NotBars(str(error)) from error
        except PYBIT_FAULTS as error:
            raise VenueUnavailable(repr(error)) from error


def parse_bar(start: object, *numbers: object, interval: str) -> Bar:
    """Parse a bar. Raises one of UNREADABLE, such as NotABar, if it is invalid (rules: `shared/market/bars.py`)."""
    open_time_ms = int(str(start))
    if not 0 <= open_time_ms < END_OF_TIME_MS:
        raise ValueError(f"{open_time_ms} ms is not the time of a bar")
    opened, high, low, closed, volume = (_AMOUNT.validate_python(number) for number in numbers)
    try:
        check_time(open_time_ms, INTERVAL_MS[interval])
        return enclose_body(Bar(open_time_ms, opened, high, low, closed, volume))
    except NotABar as error:
        raise NotABar(f"the bar of {open_time_ms}: {error}") from None


def _ascending(bars: list[Bar]) -> list[Bar]:
    if any(later.open_time_ms <= earlier.open_time_ms for earlier, later in pairwise(bars)):
        raise ValueError("the bars are not in ascending order")
    return bars
