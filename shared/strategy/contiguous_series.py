"""A series that follows the market bar by bar and detects gaps."""

from bisect import bisect_left
from collections.abc import Iterable

from shared.strategy.bars import Bar
from shared.strategy.series import Series


class ContiguousSeries:
    """Takes each bar with its predecessor's open time; after a gap the caller must `restart` from the history."""

    def __init__(self) -> None:
        self.series = Series()

    def take(self, bar: Bar, previous_ms: int | None) -> int | None:
        """Append the bar unless it is known already. Return its index, or None if a bar before it is missing."""
        bars = self.series.bars
        last_ms = bars[-1].open_time_ms if bars else None
        if last_ms is not None and bar.open_time_ms <= last_ms:
            index = bisect_left(bars, bar.open_time_ms, key=lambda each: each.open_time_ms)
            return index if bars[index].open_time_ms == bar.open_time_ms else None
        if previous_ms != last_ms:
            return None
        self.series.append(bar)
        return len(self.series) - 1

    def restart(self, bars: Iterable[Bar]) -> None:
        """Replace the series by the history, which begins at the anchor."""
        self.series = Series(bars)
