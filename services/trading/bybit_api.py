"""Bybit's public market data by REST, through pybit, which is synchronous: threads of our own, time-outs and
retries ours. Whatever an answer looks like, a method gives what it promises or raises one of two errors.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any, TypeVar

import requests
from pybit.exceptions import FailedRequestError, InvalidRequestError
from pybit.unified_trading import HTTP
from pydantic import TypeAdapter

from shared.contracts.types import Amount, from_ms
from shared.market.bars import NotABar, check_time, enclosed
from shared.strategy.bars import INTERVAL_MS, Bar

VENUE = "bybit"
CATEGORY = "linear"
THREADS = 4
TIMEOUT_S = 5
KLINE_LIMIT = 1_000
END_OF_TIME_MS = 4_102_444_800_000  # 2100
NO_SUCH_CODE = -1  # an empty set of codes to retry would be replaced by pybit's own
PARAMS_ERROR = 10001
# What reading an answer of another shape than promised comes to.
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, ArithmeticError)
PYBIT_FAULTS = (FailedRequestError, requests.RequestException, *UNREADABLE)

T = TypeVar("T")
_AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)


class VenueUnavailable(Exception):
    """The exchange did not answer, or not sensibly; try again later."""


class NotBars(VenueUnavailable):
    """The exchange answered with something that is no bar. Asked again at once it would answer the same."""


class UnknownSymbol(Exception):
    """The exchange does not know this symbol."""


@dataclass(frozen=True)
class Kline:
    """A bar of the exchange's. `widened`: its high or low did not enclose open and close, and was made to."""

    open_time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    widened: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Contract:
    """What orders of a symbol must fit."""

    tick_size: Decimal
    qty_step: Decimal
    min_order_qty: Decimal
    min_notional: Decimal


class MarketApi:
    """REST. Every method raises VenueUnavailable or UnknownSymbol."""

    def __init__(self, rest_url: str) -> None:
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bybit")
        self._http = HTTP(max_retries=1, retry_codes={NO_SUCH_CODE}, timeout=TIMEOUT_S)
        if rest_url:
            self._http.endpoint = rest_url

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._http.client.close()  # pybit leaves its kept connections open

    async def server_time(self) -> datetime:
        """The exchange's clock."""
        return await self._ask(lambda told: from_ms(int(told["timeNano"]) // 1_000_000), self._http.get_server_time)

    async def contract(self, symbol: str) -> Contract:
        def read(told: Any) -> Contract:  # Any: JSON
            if not told["list"]:
                raise UnknownSymbol(symbol)
            listed = told["list"][0]
            lots = listed["lotSizeFilter"]
            return Contract(
                _positive(listed["priceFilter"]["tickSize"]),
                _positive(lots["qtyStep"]),
                _amount(lots["minOrderQty"]),
                _amount(lots["minNotionalValue"]),
            )

        return await self._ask(read, self._http.get_instruments_info, category=CATEGORY, symbol=symbol)

    async def klines(self, symbol: str, interval: str, **window: int) -> list[Kline]:
        """Up to a thousand bars, ascending; the last may be open. `window`: start, end in ms, both included."""
        return await self._ask(
            lambda told: _ascending([kline_of(*row[:6], interval=interval) for row in reversed(told["list"])]),
            self._http.get_kline,
            category=CATEGORY,
            symbol=symbol,
            interval=interval,
            limit=KLINE_LIMIT,
            **window,
        )

    async def has_bars(self, symbol: str, interval: str) -> bool:
        """Whether the exchange has any bar of this series."""
        window = {"start": 0, "end": END_OF_TIME_MS, "limit": 1}
        return await self._ask(
            lambda told: bool(told["list"]),
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


def kline_of(start: object, *numbers: object, interval: str) -> Kline:
    """Raises one of UNREADABLE for what is no bar (`shared/market/bars.py` has the rule): NotABar among them."""
    open_time_ms = int(str(start))
    opened, high, low, closed, volume = (_AMOUNT.validate_python(number) for number in numbers)
    told = Bar(open_time_ms, opened, high, low, closed, volume)
    try:
        check_time(open_time_ms, INTERVAL_MS[interval])
        bar = enclosed(told)
    except NotABar as error:
        raise NotABar(f"the bar of {open_time_ms}: {error}") from None
    return Kline(from_ms(open_time_ms), *bar[1:], widened=bar is not told)


def _ascending(bars: list[Kline]) -> list[Kline]:
    if any(later.open_time <= earlier.open_time for earlier, later in pairwise(bars)):
        raise ValueError("its bars are not in order")
    return bars


def _amount(told: object) -> Decimal:
    amount = _AMOUNT.validate_python(told)
    if amount < 0:
        raise ValueError(f"{told!r} is below 0")
    return amount


def _positive(told: object) -> Decimal:
    amount = _amount(told)
    if not amount:
        raise ValueError("0 is no price and no step")
    return amount
