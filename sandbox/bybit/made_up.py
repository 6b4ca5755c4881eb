"""A made-up market of nearly fifty years: every price is a function of its minute, so nothing is stored and any
time can be requested. The bars of all intervals are built from the same minutes.

The logarithm of a price is noise on many scales, from one minute to six weeks. The variance doubles from each scale
to the next, as in a random walk. The scales are bounded, so that prices stay near `first_price`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import overload
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sandbox.bybit.replay import INTERVAL_MS, Candle, Market, Series, longer_intervals

FIRST_MS = 1_735_689_600_000  # 2025-01-01T00:00:00Z
DAYS = 17_500  # partitions are created at most fifty years ahead
DAY_MINUTES = 1_440
MINUTE_MS = 60_000
SCALES = 17  # the longest: 2**16 minutes, six weeks
MINUTE_DEVIATION = 0.0004  # of a price within a minute, as a fraction
CACHED_DAYS = 64
VOLUME_DIGITS = 3

Ticks = NDArray[np.int64]
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class MadeUpSymbol:
    """`digits`: decimal places of a price; `volume`: traded in a usual minute."""

    name: str
    first_price: float
    digits: int
    volume: float

    @property
    def seed(self) -> int:
        return crc32(self.name.encode())


SYMBOLS = (MadeUpSymbol("BTCUSDT", 64_000, 2, 4), MadeUpSymbol("ETHUSDT", 3_200, 2, 60))


@dataclass(frozen=True)
class _Day:
    """The minutes of one day; prices in units of the last digit."""

    open: Ticks
    high: Ticks
    low: Ticks
    close: Ticks
    volume: Ticks


class MadeUpCandles(Sequence[Candle]):
    """All bars of one symbol and interval, each computed on access."""

    def __init__(self, symbol: MadeUpSymbol, interval: str) -> None:
        self._symbol = symbol
        self._minutes = INTERVAL_MS[interval] // MINUTE_MS
        self.starts = range(FIRST_MS, FIRST_MS + DAYS * INTERVAL_MS["D"], INTERVAL_MS[interval])

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, index: int) -> Candle: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Candle]: ...
    def __getitem__(self, index: int | slice) -> Candle | Sequence[Candle]:
        if isinstance(index, slice):
            return [self._candle(number) for number in range(len(self))[index]]
        return self._candle(range(len(self))[index])

    def _candle(self, number: int) -> Candle:
        number_of_day, first = divmod(number * self._minutes, DAY_MINUTES)
        day, minutes = _day(self._symbol, number_of_day), slice(first, first + self._minutes)
        digits = self._symbol.digits
        return Candle(
            self.starts[number],
            _text(day.open[first], digits),
            _text(day.high[minutes].max(), digits),
            _text(day.low[minutes].min(), digits),
            _text(day.close[first + self._minutes - 1], digits),
            _text(day.volume[minutes].sum(), VOLUME_DIGITS),
        )


class MadeUpMarket(Market):
    """A made-up market that moves by one minute per step."""

    def __init__(self, symbols: Sequence[MadeUpSymbol] = SYMBOLS, *, two_phase: bool = False) -> None:
        self.two_phase = two_phase
        times = range(FIRST_MS, FIRST_MS + DAYS * INTERVAL_MS["D"] + 1, MINUTE_MS)
        longer = [_series(symbol, interval) for symbol in symbols for interval in longer_intervals("1")]
        self._set_up([_series(symbol, "1") for symbol in symbols], longer, times)


def _series(symbol: MadeUpSymbol, interval: str) -> Series:
    candles = MadeUpCandles(symbol, interval)
    return Series(symbol.name, candles, interval, candles.starts)


@lru_cache(maxsize=CACHED_DAYS)
def _day(symbol: MadeUpSymbol, number: int) -> _Day:
    minutes = np.arange(number * DAY_MINUTES, (number + 1) * DAY_MINUTES + 1, dtype=np.uint64)
    prices = symbol.first_price * np.exp(_walk(symbol.seed, minutes))
    opens, closes = prices[:-1], prices[1:]
    above, below = (
        np.abs(_draw(symbol.seed, SCALES + side, minutes[:-1])) * MINUTE_DEVIATION / 2 for side in (0, 1)
    )
    unit = 10.0**symbol.digits
    in_ticks = np.maximum(np.rint(prices * unit), 1).astype(np.int64)
    highest = np.rint(np.maximum(opens, closes) * (1 + above) * unit).astype(np.int64)
    lowest = np.maximum(np.rint(np.minimum(opens, closes) * (1 - below) * unit), 1).astype(np.int64)
    moved = np.abs(closes / opens - 1) / MINUTE_DEVIATION
    busy = np.exp(_draw(symbol.seed, SCALES + 2, minutes[:-1])) * (0.2 + moved)
    return _Day(
        in_ticks[:-1],
        np.maximum(highest, np.maximum(in_ticks[:-1], in_ticks[1:])),
        np.minimum(lowest, np.minimum(in_ticks[:-1], in_ticks[1:])),
        in_ticks[1:],
        np.rint(busy * symbol.volume * 10**VOLUME_DIGITS).astype(np.int64),
    )


def _walk(seed: int, minutes: NDArray[np.uint64]) -> Numbers:
    """Return the logarithm of price ÷ `first_price` at each minute."""
    distance = np.zeros(len(minutes))
    for scale in range(SCALES):
        cell = minutes >> np.uint64(scale)
        part = (minutes & np.uint64(2**scale - 1)) / 2**scale
        here, there = _draw(seed, scale, cell), _draw(seed, scale, cell + np.uint64(1))
        distance += MINUTE_DEVIATION * 2 ** (scale / 2) * (here + (there - here) * part)
    return distance


def _draw(seed: int, stream: int, numbers: NDArray[np.uint64]) -> Numbers:
    """Return uniform values from -1 to 1 that depend on the arguments only (the mixer of SplitMix64)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15) + np.uint64(seed << 8 | stream)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(11)).astype(np.float64) / 2**52 - 1


def _text(units: np.int64, digits: int) -> str:
    return format(Decimal(int(units)).scaleb(-digits), "f")
