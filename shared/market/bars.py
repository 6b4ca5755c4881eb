"""What a bar is: one rule for candle files, `candles fetch`, the feed and backtests over HTTP.

A bar opens on its interval's grid (a multiple of its length since 1970, UTC). Its prices are above 0, its volume is
not below, and all are finite. A high or low that does not enclose open and close is widened to do so: exchanges
round, and a live feed must go on; whoever reads bars reports it. Anything else is no bar.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

from shared.strategy.bars import Bar


class NotABar(ValueError):
    """The message is the reason, for a reader who has the bar in front of them."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Bars that are not there: how many, after which bar's open time, before which."""

    after_ms: int
    before_ms: int
    missing: int


def enclosed(bar: Bar) -> Bar:
    """The bar, its high and low widened where they do not enclose open and close (the same object where they do).

    Raises NotABar.
    """
    _, opened, high, low, close, volume = bar
    if not all(map(Decimal.is_finite, bar[1:])):
        raise NotABar("a price or the volume is not finite")
    if min(opened, high, low, close) <= 0:
        raise NotABar("a price is not above 0")
    if volume < 0:
        raise NotABar(f"volume {volume} is negative")
    if low <= min(opened, close) and max(opened, close) <= high:
        return bar
    prices = (opened, high, low, close)
    return bar._replace(high=max(prices), low=min(prices))


def check_time(open_time_ms: int, interval_ms: int) -> None:
    """Raises NotABar for a time that is not on the interval's grid."""
    beyond = open_time_ms % interval_ms
    if beyond:
        raise NotABar(
            f"open_time_ms {open_time_ms} is {_duration(beyond)} past the grid of {_duration(interval_ms)} (UTC)"
        )


def find_gaps(times: Iterable[int], interval_ms: int) -> list[Gap]:
    """Where the next bar opens later than one interval after its predecessor. The times are on the grid, rising."""
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
