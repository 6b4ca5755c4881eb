"""The definition of a valid bar, shared by candle files, `candles fetch`, the feed and backtests over HTTP.

A bar opens on its interval's grid (a multiple of its length since 1970, UTC). Its prices are above 0, its volume is
at least 0, and all are finite. A high or low that does not enclose open and close is widened to do so, because
exchanges round and a live feed must not stop; readers of bars report it. Anything else is not a bar.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from shared.contracts.market import CandleClosed
from shared.contracts.types import to_ms
from shared.strategy.bars import Bar


class NotABar(ValueError):
    """The message is the reason, worded for a reader who can see the bar."""


class WidenedBar(Bar):
    """A bar whose high or low did not enclose open and close and was changed. It equals a Bar with its values."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Gap:
    """Missing bars: their number, and the open times of the bars before and after them."""

    after_ms: int
    before_ms: int
    missing: int


def bar_of(candle: CandleClosed) -> Bar:
    return Bar(to_ms(candle.open_time), candle.open, candle.high, candle.low, candle.close, candle.volume)


def enclose_body(bar: Bar) -> Bar:
    """Return a WidenedBar if high or low does not enclose open and close, else the same object.

    Raises NotABar.
    """
    time_ms, opened, high, low, close, volume = bar
    if not all(map(Decimal.is_finite, bar[1:])):
        raise NotABar("a price or the volume is not finite")
    if min(opened, high, low, close) <= 0:
        raise NotABar("a price is not above 0")
    if volume < 0:
        raise NotABar(f"volume {volume} is negative")
    if low <= min(opened, close) and max(opened, close) <= high:
        return bar
    prices = (opened, high, low, close)
    return WidenedBar(time_ms, opened, max(prices), min(prices), close, volume)


def check_time(open_time_ms: int, interval_ms: int) -> None:
    """Raises NotABar for a time that is not on the interval's grid."""
    beyond = open_time_ms % interval_ms
    if beyond:
        raise NotABar(
            f"open_time_ms {open_time_ms} is {_duration(beyond)} past the grid of {_duration(interval_ms)} (UTC)"
        )


def find_gaps(times: Iterable[int], interval_ms: int) -> list[Gap]:
    """Return the gaps between consecutive open times, which must be rising and on the grid."""
    return [
        Gap(earlier, later, (later - earlier) // interval_ms - 1)
        for earlier, later in pairwise(times)
        if later - earlier > interval_ms
    ]


def _duration(milliseconds: int) -> str:
    for unit, length in (("h", 3_600_000), ("min", 60_000), ("s", 1_000)):
        if milliseconds % length == 0:
            return f"{milliseconds // length} {unit}"
    return f"{milliseconds} ms"
