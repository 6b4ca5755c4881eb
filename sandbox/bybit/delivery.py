"""The delays after which a change becomes visible: one in REST, another on the private streams."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from sandbox.bybit.exchange.rows import Change

MAX_DELAY_MS = 600_000


@dataclass
class Delays:
    """In wall time. `answer_ms`: a command's answer after it was carried out. `read_ms`: REST after a change;
    `lookup_ms`: order/realtime and order/history after an order's creation; `stream_ms`: a push after a change."""

    answer_ms: int = 0
    read_ms: int = 0
    lookup_ms: int = 0
    stream_ms: int = 0

    def check(self) -> None:
        """Raises ValueError."""
        for name, value in vars(self).items():
            if not 0 <= value <= MAX_DELAY_MS:
                raise ValueError(f"{name} must be from 0 to {MAX_DELAY_MS}")


class Lane:
    """Delivers changes after a delay, in their order; at once without a delay."""

    def __init__(self, deliver: Callable[[Change], None]) -> None:
        self._deliver = deliver
        self._waiting: deque[tuple[float, Change]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_empty(self) -> bool:
        return not self._waiting

    def put(self, change: Change, delay_ms: int) -> None:
        if not delay_ms and not self._waiting:
            self._deliver(change)
            return
        due = asyncio.get_running_loop().time() + delay_ms / 1000
        self._waiting.append((max(due, self._waiting[-1][0]) if self._waiting else due, change))
        if self._timer is None:
            self._arm()

    def _arm(self) -> None:
        self._timer = asyncio.get_running_loop().call_at(self._waiting[0][0], self._deliver_due)

    def _deliver_due(self) -> None:
        self._timer = None
        now = asyncio.get_running_loop().time()
        while self._waiting and self._waiting[0][0] <= now:
            self._deliver(self._waiting.popleft()[1])
        if self._waiting:
            self._arm()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
