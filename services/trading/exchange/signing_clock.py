"""The exchange's clock as it judges the timestamps of signatures."""

from collections.abc import Callable

from shared.chassis.clock import utc_now
from shared.contracts.types import to_ms


def local_ms() -> int:
    return to_ms(utc_now())


class SigningClock:
    """This machine's clock plus an offset, shared by all accounts of an endpoint.

    The offset is learned when a timestamp is refused, because the refusal names the clock that judged it; the time
    of `/v5/market/time` may be another one (a replay's). Used by several threads: a read or a write is one step.
    """

    def __init__(self, local: Callable[[], int] = local_ms) -> None:
        self._local = local
        self._offset_ms = 0

    def now_ms(self) -> int:
        return self._local() + self._offset_ms

    def correct(self, server_ms: int) -> int:
        """Set the clock to this time of the exchange, received now. Returns the change in milliseconds."""
        before, self._offset_ms = self._offset_ms, server_ms - self._local()
        return self._offset_ms - before
