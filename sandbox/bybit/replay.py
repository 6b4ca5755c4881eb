"""The market as it stands at one moment of a replay; pure: no clock but its own, no sockets."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise

INTERVAL_MS = {
    **{str(minutes): minutes * 60_000 for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 86_400_000,
}


@dataclass(frozen=True)
class Candle:
    """Prices and volume as the file has them."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str

    @property
    def turnover(self) -> str:
        """Derived, as the files have none: volume × the mean of high, low and close."""
        typical = (Decimal(self.high) + Decimal(self.low) + Decimal(self.close)) / 3
        return format((Decimal(self.volume) * typical).quantize(Decimal("0.0001")), "f")


@dataclass(frozen=True)
class Push:
    """One kline message: the bar as it was just seen, whole once confirmed."""

    symbol: str
    interval: str
    candle: Candle
    confirm: bool


class Series:
    """One symbol's bars: `closed` of them are confirmed, and the next may be open."""

    def __init__(self, symbol: str, candles: Sequence[Candle], interval: str = "auto") -> None:
        self.symbol = symbol
        self.candles = candles
        self.interval = _interval_of(candles) if interval == "auto" else interval
        _check(symbol, candles, self.interval_ms)
        self.closed = 0
        self.opened = 0

    @property
    def interval_ms(self) -> int:
        return INTERVAL_MS[self.interval]

    def price_before(self, span_ms: int) -> str:
        """The open of the bar that stood so long before the last confirmed one ended."""
        if self.last_closed is None:
            return self.candles[0].open
        since = self.last_closed.start + self.interval_ms - span_ms
        return self.candles[min(bisect_left(self.candles, since, key=_start), self.closed - 1)].open

    @property
    def last_closed(self) -> Candle | None:
        return self.candles[self.closed - 1] if self.closed else None

    @property
    def current(self) -> Candle | None:
        """The open bar, of which only the first trade has been seen."""
        if self.opened == self.closed:
            return None
        bar = self.candles[self.closed]
        return Candle(bar.start, bar.open, bar.open, bar.open, bar.open, "0")

    def last_price(self) -> str:
        current = self.current
        if current is not None:
            return current.open
        return self.last_closed.close if self.last_closed else self.candles[0].open

    def move_to(self, clock_ms: int) -> list[Push]:
        """Confirm what has ended by now, open what begins by now; what is to be pushed, in order."""
        pushes = []
        while self.opened < len(self.candles) or self.closed < self.opened:
            if self.closed < self.opened:
                bar = self.candles[self.closed]
                if bar.start + self.interval_ms > clock_ms:
                    break
                self.closed += 1
                pushes.append(Push(self.symbol, self.interval, bar, confirm=True))
            elif self.candles[self.opened].start <= clock_ms:
                self.opened += 1
                current = self.current
                assert current is not None, "a bar was just opened"
                pushes.append(Push(self.symbol, self.interval, current, confirm=False))
            else:
                break
        return pushes

    def visible(self, first: int = 0, last: int = 2**62) -> list[Candle]:
        """The bars from `first` to `last` that a client may see now, ascending; the last may be open."""
        begin = bisect_left(self.candles, first, hi=self.closed, key=_start)
        end = bisect_right(self.candles, last, hi=self.closed, key=_start)
        current = self.current
        open_too = current is not None and first <= current.start <= last
        return [*self.candles[begin:end], *([current] if current and open_too else [])]


class Market:
    """All symbols under one clock, which stands still between steps."""

    def __init__(self, files: Mapping[str, Sequence[Candle]], interval: str = "auto") -> None:
        self.series = {symbol: Series(symbol, candles, interval) for symbol, candles in files.items()}
        self._times = sorted(
            {
                moment
                for series in self.series.values()
                for candle in series.candles
                for moment in (candle.start, candle.start + series.interval_ms)
            }
        )
        self.steps_done = 0
        self.clock_ms = self._times[0] - 1

    @property
    def steps_total(self) -> int:
        return len(self._times)

    @property
    def done(self) -> bool:
        return self.steps_done == self.steps_total

    def step(self) -> list[Push]:
        """To the next moment at which a bar ends or begins: ends first, then beginnings."""
        if self.done:
            return []
        self.clock_ms = self._times[self.steps_done]
        self.steps_done += 1
        pushes = [push for series in self.series.values() for push in series.move_to(self.clock_ms)]
        return sorted(pushes, key=lambda push: not push.confirm)


def _start(candle: Candle) -> int:
    return candle.start


def _check(symbol: str, candles: Sequence[Candle], interval_ms: int) -> None:
    for before, after in pairwise(candles):
        if after.start - before.start < interval_ms:
            raise ValueError(f"{symbol}: bar {after.start} does not come after the end of {before.start}")


def _interval_of(candles: Sequence[Candle]) -> str:
    smallest = min((after.start - before.start for before, after in pairwise(candles)), default=60_000)
    for name, milliseconds in INTERVAL_MS.items():
        if milliseconds == smallest:
            return name
    raise ValueError(f"bars {smallest} ms apart are no interval of Bybit's")
