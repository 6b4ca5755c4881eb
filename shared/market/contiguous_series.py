"""A series that follows the market candle by candle and detects gaps."""

from bisect import bisect_left
from datetime import datetime

from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import from_ms, to_ms
from shared.market.bars import bar_of
from shared.strategy.series import Series


class ContiguousSeries(Series):
    """Takes a candle only if it names the last bar as its predecessor; the caller loads what is missing."""

    @property
    def last_ms(self) -> int | None:
        return self.bars[-1].open_time_ms if self.bars else None

    @property
    def last_open_time(self) -> datetime | None:
        return from_ms(self.bars[-1].open_time_ms) if self.bars else None

    def has_passed(self, candle: CandleOpened | CandleClosed) -> bool:
        """Return whether the series holds a bar of the candle's time or a later one."""
        return self.last_ms is not None and to_ms(candle.open_time) <= self.last_ms

    def is_next(self, candle: CandleOpened | CandleClosed) -> bool:
        """Return whether no bar is missing between the last one and the candle."""
        previous = candle.previous_open_time
        return (None if previous is None else to_ms(previous)) == self.last_ms

    def take(self, candle: CandleClosed) -> int | None:
        """Append the candle unless it is known already. Return its index, or None if a bar is missing."""
        if self.has_passed(candle):
            time_ms = to_ms(candle.open_time)
            index = bisect_left(self.bars, time_ms, key=lambda bar: bar.open_time_ms)
            return index if self.bars[index].open_time_ms == time_ms else None
        if not self.is_next(candle):
            return None
        self.append(bar_of(candle))
        return len(self) - 1
