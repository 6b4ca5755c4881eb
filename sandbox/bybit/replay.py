"""The state of the market during a replay. Pure: no clock but its own, no sockets."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby, pairwise

INTERVAL_MS = {
    **{str(minutes): minutes * 60_000 for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720)},
    "D": 86_400_000,
}


@dataclass(frozen=True, slots=True)
class Candle:
    """Prices and volume exactly as in the file."""

    start: int
    open: str
    high: str
    low: str
    close: str
    volume: str

    @property
    def turnover(self) -> str:
        """Volume × the mean of high, low and close, because the files have no turnover."""
        typical = (Decimal(self.high) + Decimal(self.low) + Decimal(self.close)) / 3
        return format((Decimal(self.volume) * typical).quantize(Decimal("0.0001")), "f")


@dataclass(frozen=True)
class Push:
    """One kline message: the bar's current state, final if `confirm`."""

    symbol: str
    interval: str
    candle: Candle
    confirm: bool


class Series:
    """One symbol's bars of one interval: the first `closed` are confirmed, the next may be open."""

    def __init__(
        self, symbol: str, candles: Sequence[Candle], interval: str, starts: Sequence[int] | None = None
    ) -> None:
        """`starts`: the candles' start times, if known without reading all candles."""
        self.symbol = symbol
        self.candles = candles
        self.interval = interval
        self._starts = [candle.start for candle in candles] if starts is None else starts
        self.closed = 0
        self.opened = 0

    @property
    def interval_ms(self) -> int:
        return INTERVAL_MS[self.interval]

    def price_before(self, span_ms: int) -> str:
        """Return the open of the bar at `span_ms` before the end of the last confirmed bar."""
        if self.last_closed is None:
            return self.candles[0].open
        since = self.last_closed.start + self.interval_ms - span_ms
        return self.candles[min(bisect_left(self._starts, since), self.closed - 1)].open

    @property
    def last_closed(self) -> Candle | None:
        return self.candles[self.closed - 1] if self.closed else None

    @property
    def current(self) -> Candle | None:
        """The open bar, with its first trade only."""
        if self.opened == self.closed:
            return None
        bar = self.candles[self.closed]
        return Candle(bar.start, bar.open, bar.open, bar.open, bar.open, "0")

    def last_price(self) -> str:
        current = self.current
        if current is not None:
            return current.open
        return self.last_closed.close if self.last_closed else self.candles[0].open

    def close_ended(self, clock_ms: int) -> list[Push]:
        """Confirm the open bar if it has ended."""
        if self.closed == self.opened or self._starts[self.closed] + self.interval_ms > clock_ms:
            return []
        self.closed += 1
        return [Push(self.symbol, self.interval, self.candles[self.closed - 1], confirm=True)]

    def open_begun(self, clock_ms: int) -> list[Push]:
        """Open the next bar if it has begun."""
        if self.closed < self.opened or self.opened == len(self.candles) or self._starts[self.opened] > clock_ms:
            return []
        self.opened += 1
        current = self.current
        assert current is not None, "a bar was just opened"
        return [Push(self.symbol, self.interval, current, confirm=False)]

    def move_to(self, clock_ms: int) -> list[Push]:
        """Confirm the bars that have ended, open those that have begun. Return the pushes in order."""
        pushes: list[Push] = []
        while new := self.close_ended(clock_ms) or self.open_begun(clock_ms):
            pushes += new
        return pushes

    def jump_to(self, clock_ms: int, *, before_opens: bool = False) -> None:
        """As `move_to`, without pushes. `before_opens`: the bars that begin at this time are not open yet."""
        self.opened = bisect_right(self._starts, clock_ms - before_opens)
        self.closed = bisect_right(self._starts, clock_ms - self.interval_ms)

    def visible(
        self, first: int = 0, last: int = 2**62, limit: int = 2**62, *, newest: bool = False
    ) -> list[Candle]:
        """Return the bars that start from `first` to `last` and are visible now, ascending; the last may be open.

        At most `limit` bars: the first ones, or with `newest` the last ones.
        """
        begin = bisect_left(self._starts, first, hi=self.closed)
        end = bisect_right(self._starts, last, hi=self.closed)
        current = self.current
        open_too = current is not None and first <= current.start <= last
        if newest:
            begin = max(begin, end - (limit - open_too))
        else:
            end = min(end, begin + limit)
            open_too = open_too and end - begin < limit
        return [*self.candles[begin:end], *([current] if current and open_too else [])]


class Market:
    """All symbols under one clock, which moves only by steps.

    `series` are the bars of each symbol's base interval; the bars of longer intervals are merged from them.
    With `two_phase` each time takes two steps: the first ends bars, the second begins bars.
    """

    two_phase = False

    def __init__(
        self, files: Mapping[str, Sequence[Candle]], interval: str = "auto", *, two_phase: bool = False
    ) -> None:
        self.two_phase = two_phase
        series = [_load_series(symbol, candles, interval) for symbol, candles in files.items()]
        times = {
            time
            for each in series
            for candle in each.candles
            for time in (candle.start, candle.start + each.interval_ms)
        }
        self._set_up(series, [longer for each in series for longer in _longer_series(each)], sorted(times))

    def _set_up(self, series: Iterable[Series], longer: Iterable[Series], times: Sequence[int]) -> None:
        """`times`: when a bar of `series` ends or begins, ascending."""
        self.series = {each.symbol: each for each in series}
        self._all = {(each.symbol, each.interval): each for each in (*self.series.values(), *longer)}
        self._times = times
        self.steps_done = 0
        self.clock_ms = times[0] - 1

    def find(self, symbol: str, interval: str) -> Series | None:
        """Return the series, or None if the market has no such bars."""
        return self._all.get((symbol, interval))

    def intervals(self, symbol: str) -> list[str]:
        return [interval for named, interval in self._all if named == symbol]

    @property
    def steps_total(self) -> int:
        return len(self._times) * (1 + self.two_phase)

    @property
    def done(self) -> bool:
        return self.steps_done == self.steps_total

    @property
    def stands_at_close(self) -> bool:
        """Return whether the last step ended bars and the next one begins bars at the same time."""
        return self.two_phase and self.steps_done % 2 == 1

    def step(self) -> list[Push]:
        """Move to the next time at which a bar ends or begins, or with `two_phase` to the next half of it.

        Return the pushes: confirmed bars, then new ones.
        """
        if self.done:
            return []
        self.clock_ms = self._times[self.steps_done // (1 + self.two_phase)]
        self.steps_done += 1
        pushes = [push for series in self._all.values() for push in self._move(series)]
        return sorted(pushes, key=lambda push: not push.confirm)

    def _move(self, series: Series) -> list[Push]:
        if not self.two_phase:
            return series.move_to(self.clock_ms)
        move = series.close_ended if self.stands_at_close else series.open_begun
        return move(self.clock_ms)

    def jump_to(self, steps_done: int) -> None:
        """Move to the state after `steps_done` steps in total, without pushes; never backwards."""
        steps_done = min(steps_done, self.steps_total)
        if steps_done <= self.steps_done:
            return
        self.steps_done = steps_done
        self.clock_ms = self._times[(steps_done - 1) // (1 + self.two_phase)]
        for series in self._all.values():
            series.jump_to(self.clock_ms, before_opens=self.stands_at_close)


def _load_series(symbol: str, candles: Sequence[Candle], interval: str) -> Series:
    series = Series(symbol, candles, _interval_of(candles) if interval == "auto" else interval)
    _check(symbol, candles, series.interval_ms)
    return series


def longer_intervals(interval: str) -> list[str]:
    """Return the intervals whose bars can be merged from bars of this one."""
    shorter_ms = INTERVAL_MS[interval]
    return [name for name, length in INTERVAL_MS.items() if length > shorter_ms and length % shorter_ms == 0]


def _longer_series(series: Series) -> list[Series]:
    merged = ((interval, _merge(series, INTERVAL_MS[interval])) for interval in longer_intervals(series.interval))
    return [Series(series.symbol, candles, interval) for interval, candles in merged if candles]


def _merge(series: Series, interval_ms: int) -> list[Candle]:
    """Return the bars of a longer interval, without those that the series does not cover from start to end."""
    first, end = series.candles[0].start, series.candles[-1].start + series.interval_ms
    bars = []
    for start, group in groupby(series.candles, key=lambda candle: candle.start - candle.start % interval_ms):
        if start >= first and start + interval_ms <= end:
            bars.append(_merge_into_one(start, list(group)))
    return bars


def _merge_into_one(start: int, parts: Sequence[Candle]) -> Candle:
    return Candle(
        start,
        parts[0].open,
        max((part.high for part in parts), key=Decimal),
        min((part.low for part in parts), key=Decimal),
        parts[-1].close,
        format(sum((Decimal(part.volume) for part in parts), Decimal(0)), "f"),
    )


def _check(symbol: str, candles: Sequence[Candle], interval_ms: int) -> None:
    for before, after in pairwise(candles):
        if after.start - before.start < interval_ms:
            raise ValueError(f"{symbol}: bar {after.start} does not come after the end of {before.start}")


def _interval_of(candles: Sequence[Candle]) -> str:
    smallest = min((after.start - before.start for before, after in pairwise(candles)), default=60_000)
    for name, milliseconds in INTERVAL_MS.items():
        if milliseconds == smallest:
            return name
    raise ValueError(f"Bybit has no interval of {smallest} ms")
