"""How many requests the exchange accepts from one account at one endpoint: a limit per second, rolling."""

import math
from collections import deque
from collections.abc import Mapping
from enum import IntEnum

WINDOW_S = 1.0
DEFAULT_LIMIT = 10
HIGHEST_LIMIT = 100_000

# The exchange's limits per second that are not the default. An answer's headers replace them.
LIMITS = {
    "/v5/order/realtime": 50,
    "/v5/order/history": 50,
    "/v5/execution/list": 50,
    "/v5/position/list": 50,
    "/v5/account/wallet-balance": 50,
    "/v5/account/info": 50,
    "/v5/account/user-setting-config": 50,
}


class Lane(IntEnum):
    """The purpose of a request, most urgent first. Each lane may use a part of each limit, the first all of it."""

    CLOSE = 0  # close and cancel
    STOP = 1  # stops and targets, and the questions that these depend on
    ENTRY = 2
    POLL = 3


PERCENT = {Lane.CLOSE: 100, Lane.STOP: 90, Lane.ENTRY: 80, Lane.POLL: 60}


def part_of(limit: int, lane: Lane) -> int:
    """Return how many of `limit` requests a lane may use, together with the lanes above it."""
    return max(1, limit * PERCENT[lane] // 100)


class RequestWindow:
    """The requests of one account at one endpoint. A request counts from before it is sent until a second after its
    answer, because it arrives somewhere in between: so the exchange never counts more than we do."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._in_flight = 0
        self._ended: deque[float] = deque()
        self._blocked_until = 0.0

    def is_idle(self, now: float) -> bool:
        return not self._count(now) and self._blocked_until <= now

    def has_room(self, lane: Lane, now: float, beside: int = 0) -> bool:
        """Return whether the lane may send one more request `beside` some that are not sent yet."""
        return self._blocked_until <= now and self._count(now) + beside < part_of(self.limit, lane)

    def room_at(self, now: float) -> float:
        """Return when the window changes next by itself; infinity if only an answer can change it."""
        if self._blocked_until > now:
            return self._blocked_until
        return self._ended[0] + WINDOW_S if self._count(now) > self._in_flight else math.inf

    def begin(self) -> None:
        self._in_flight += 1

    def end(self, now: float) -> None:
        self._in_flight -= 1
        self._ended.append(now)

    def block(self, until: float) -> None:
        """The exchange has refused a request because of the limit."""
        self._blocked_until = max(self._blocked_until, until)

    def learn(self, headers: Mapping[str, str], now: float) -> None:
        """Take over the limit and what is left of it from an answer, which counts other processes' requests too."""
        limit = _number(headers.get("X-Bapi-Limit"))
        left = _number(headers.get("X-Bapi-Limit-Status"))
        if limit is None or left is None or not 0 < limit <= HIGHEST_LIMIT:
            return
        self.limit = limit
        of_others = min(limit - left, limit) - self._count(now)
        self._ended.extend([now] * max(0, of_others))

    def _count(self, now: float) -> int:
        while self._ended and self._ended[0] + WINDOW_S <= now:
            self._ended.popleft()
        return self._in_flight + len(self._ended)


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= 9 else None
