"""Bars fetched by REST, once they are settled: they will not change any more."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from services.trading.bybit_api import KLINE_LIMIT, MarketApi
from services.trading.exchange.venue import VenueUnavailable
from shared.contracts.types import from_ms, to_ms
from shared.strategy.bars import INTERVAL_MS, Bar

SETTLING = timedelta(seconds=2)  # how long after its end a bar may still appear or change in REST
REREAD_AFTER_S = 0.5
MAX_READS = 8


@dataclass(frozen=True)
class Page:
    """Closed bars, ascending, and the open bar if it was in the answer. Covers the time up to `end`."""

    closed: list[Bar]
    current: Bar | None
    end: datetime
    is_last: bool
    venue_time: datetime


class SettledBars:
    """Fetches settled bars of one series. Every method raises VenueUnavailable or UnknownSymbol."""

    def __init__(self, api: MarketApi, symbol: str, interval: str) -> None:
        self._api = api
        self._symbol = symbol
        self._interval = interval
        self._step_ms = INTERVAL_MS[interval]

    async def fetch_latest(self, count: int) -> list[Bar]:
        """Fetch the last closed bars, at least `count` if the exchange has as many."""
        now_ms = to_ms(await self._api.server_time())
        bars: list[Bar] = []
        window: dict[str, int] = {}
        while len(bars) <= count:
            page = await self._api.bars(self._symbol, self._interval, **window)
            bars[:0] = page
            if len(page) < KLINE_LIMIT:
                break
            window = {"end": page[0].open_time_ms - 1}
        boundary_ms = self._boundary(now_ms)
        if self._is_fresh(bars, boundary_ms, now_ms):
            boundary_ms -= self._step_ms
        return [bar for bar in bars if bar.open_time_ms < boundary_ms]

    async def fetch_before(self, anchor: datetime, count: int) -> list[Bar]:
        """Fetch the bars before the anchor, at least `count` if the exchange has as many. They are old enough to be
        settled."""
        bars: list[Bar] = []
        end_ms = to_ms(anchor) - 1
        while len(bars) < count:
            page = await self._api.bars(self._symbol, self._interval, end=end_ms)
            bars[:0] = page
            if len(page) < KLINE_LIMIT:
                break
            end_ms = page[0].open_time_ms - 1
        return bars

    async def fetch_after(self, last: datetime | None, until: datetime | None) -> Page:
        """Fetch the next bars after `last` (None: any) that open before `until` (None: now).

        The exchange's clock is read first: a bar that was over by then is closed in the answer.
        """
        now = await self._api.server_time()
        if until is not None:
            now = max(now, until)  # the stream has shown a bar that opened then
        target_ms = to_ms(until if until is not None else now)
        window = {"end": target_ms}
        if last is not None:
            first_ms = to_ms(last) + self._step_ms
            if first_ms > target_ms:
                return Page([], None, from_ms(target_ms), True, now)
            # A window of one page is returned whole, whichever end the exchange counts from.
            window = {"start": first_ms, "end": min(first_ms + (KLINE_LIMIT - 1) * self._step_ms, target_ms)}
        boundary_ms = self._boundary(min(to_ms(now), target_ms))
        bars = await self._read(window, boundary_ms, to_ms(now))
        return Page(
            [bar for bar in bars if bar.open_time_ms < boundary_ms],
            next((bar for bar in bars if bar.open_time_ms >= boundary_ms), None),
            from_ms(window["end"]),
            window["end"] == target_ms,
            now,
        )

    def _boundary(self, now_ms: int) -> int:
        """Return the open time of the bar that is open at `now_ms`; bars that open earlier are over."""
        return now_ms - now_ms % self._step_ms

    def _is_fresh(self, bars: list[Bar], boundary_ms: int, now_ms: int) -> bool:
        """Return whether the last bar before the boundary may still appear or change.

        It may while no later bar exists and the boundary is less than `SETTLING` ago.
        """
        beyond = bool(bars) and bars[-1].open_time_ms >= boundary_ms
        return not beyond and from_ms(now_ms) < from_ms(boundary_ms) + SETTLING

    async def _read(self, window: Mapping[str, int], boundary_ms: int, now_ms: int) -> list[Bar]:
        """Read the window; while its last bar is fresh, read again until two answers are equal."""
        bars = await self._api.bars(self._symbol, self._interval, **window)
        if window["end"] < boundary_ms - self._step_ms or not self._is_fresh(bars, boundary_ms, now_ms):
            return bars
        for _ in range(MAX_READS):
            await asyncio.sleep(REREAD_AFTER_S)
            again = await self._api.bars(self._symbol, self._interval, **window)
            if again == bars:
                return bars
            bars = again
        raise VenueUnavailable(f"{self._symbol} {self._interval}: the last bar keeps changing")
