"""Bars by REST that will not change any more."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.trading.bybit_api import KLINE_LIMIT, Kline, MarketApi, VenueUnavailable
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import INTERVAL_MS

SETTLING = timedelta(seconds=2)  # how long after its end a bar by REST may still come or change
READ_AGAIN_S = 0.5
MOST_READINGS = 8


@dataclass(frozen=True)
class Page:
    """Bars that are over, ascending, and the open one if it was there; all up to `end` was looked at."""

    closed: list[Kline]
    current: Kline | None
    end: datetime
    is_last: bool
    venue_time: datetime


class SettledBars:
    """Of one series. Every method raises VenueUnavailable or UnknownSymbol."""

    def __init__(self, api: MarketApi, symbol: str, interval: str) -> None:
        self._api = api
        self._symbol = symbol
        self._interval = interval
        self._step_ms = INTERVAL_MS[interval]

    async def latest(self, count: int) -> list[Kline]:
        """The last bars that are over, at least `count` of them where the exchange has so many."""
        now_ms = to_ms(await self._api.server_time())
        bars: list[Kline] = []
        window: dict[str, int] = {}
        while len(bars) <= count:
            page = await self._api.klines(self._symbol, self._interval, **window)
            bars[:0] = page
            if len(page) < KLINE_LIMIT:
                break
            window = {"end": to_ms(page[0].open_time) - 1}
        boundary_ms = self._boundary(now_ms)
        if self._is_fresh(bars, boundary_ms, now_ms):
            boundary_ms -= self._step_ms
        return [bar for bar in bars if to_ms(bar.open_time) < boundary_ms]

    async def before(self, anchor: datetime, count: int) -> list[Kline]:
        """The bars before the anchor, at least `count` of them where the exchange has so many; none of them is
        young."""
        bars: list[Kline] = []
        end_ms = to_ms(anchor) - 1
        while len(bars) < count:
            page = await self._api.klines(self._symbol, self._interval, end=end_ms)
            bars[:0] = page
            if len(page) < KLINE_LIMIT:
                break
            end_ms = to_ms(page[0].open_time) - 1
        return bars

    async def after(self, last: datetime | None, until: datetime | None) -> Page:
        """The next bars after `last` (None: whatever there is) that open before `until` (None: now).

        The clock is asked first: what was over then is over in the answer.
        """
        now = await self._api.server_time()
        if until is not None:
            now = max(now, until)  # the stream has seen a bar open then
        target_ms = to_ms(until if until is not None else now)
        window = {"end": target_ms}
        if last is not None:
            first_ms = to_ms(last) + self._step_ms
            if first_ms > target_ms:
                return Page([], None, from_ms(target_ms), True, now)
            # A window of a thousand bars gives them all, whichever end the exchange counts from.
            window = {"start": first_ms, "end": min(first_ms + (KLINE_LIMIT - 1) * self._step_ms, target_ms)}
        boundary_ms = self._boundary(min(to_ms(now), target_ms))
        bars = await self._read(window, boundary_ms, to_ms(now))
        return Page(
            [bar for bar in bars if to_ms(bar.open_time) < boundary_ms],
            next((bar for bar in bars if to_ms(bar.open_time) >= boundary_ms), None),
            from_ms(window["end"]),
            window["end"] == target_ms,
            now,
        )

    def _boundary(self, now_ms: int) -> int:
        """Bars that open before it are over."""
        return now_ms - now_ms % self._step_ms

    def _is_fresh(self, bars: list[Kline], boundary_ms: int, now_ms: int) -> bool:
        """Whether the last bar before the boundary may still come or change: nothing after it is there yet."""
        beyond = bool(bars) and to_ms(bars[-1].open_time) >= boundary_ms
        return not beyond and from_ms(now_ms) < from_ms(boundary_ms) + SETTLING

    async def _read(self, window: Mapping[str, int], boundary_ms: int, now_ms: int) -> list[Kline]:
        bars = await self._api.klines(self._symbol, self._interval, **window)
        if window["end"] < boundary_ms - self._step_ms or not self._is_fresh(bars, boundary_ms, now_ms):
            return bars
        for _ in range(MOST_READINGS):
            await asyncio.sleep(READ_AGAIN_S)
            again = await self._api.klines(self._symbol, self._interval, **window)
            if again == bars:
                return bars
            bars = again
        raise VenueUnavailable(f"{self._symbol} {self._interval}: the last bar does not settle")
