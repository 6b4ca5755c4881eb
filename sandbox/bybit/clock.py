"""The two clocks of the sandbox: market time moves by steps, wall time judges requests."""

import time
from collections.abc import Callable

from sandbox.bybit.replay import Market

AHEAD_MS = 1_000  # how far a request's timestamp may be ahead of the exchange
LOGIN_AHEAD_MS = 3_600_000


class Clock:
    """`market_ms` stamps orders, fills and messages. `wall_ms` is for signatures, limits and the expiry of keys."""

    def __init__(self, market: Market, wall_s: Callable[[], float] = time.time) -> None:
        self._market = market
        self._wall_s = wall_s
        self.skew_ms = 0  # an injected fault: how far the exchange's wall clock is ahead

    @property
    def market_ms(self) -> int:
        return self._market.clock_ms

    @property
    def wall_ms(self) -> int:
        return int(self._wall_s() * 1000) + self.skew_ms

    def accepts(self, timestamp_ms: int, recv_window_ms: int) -> bool:
        """Accept a timestamp of the wall clock, or of the market's, which `/v5/market/time` shows."""
        return any(
            now_ms - recv_window_ms <= timestamp_ms < now_ms + AHEAD_MS for now_ms in (self.wall_ms, self.market_ms)
        )

    def is_ahead(self, time_ms: int) -> bool:
        """Return whether a login on a stream that expires at this time is still valid, by either clock."""
        return time_ms > self.wall_ms or 0 < time_ms - self.market_ms < LOGIN_AHEAD_MS
