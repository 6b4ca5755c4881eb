"""A series of bars from its anchor, with cached indicators and conditions that all its users share."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial

import numpy as np

from shared.strategy.bars import Bar
from shared.strategy.indicators.incremental import IncrementalIndicator
from shared.strategy.indicators.recipes import CANDLE_FIELDS, IndicatorSpec
from shared.strategy.ticks import Ticks, to_ticks
from shared.strategy.tolerance import Values

_CACHED_INDICATORS = 1024
_CACHED_TRUTHS = 4096
_FIRST_CAPACITY = 1024
_PIECE = 1024


@dataclass(slots=True)
class Truths:
    """A condition's truth at each bar so far, and the function that evaluates the next bars."""

    values: bytearray = field(default_factory=bytearray)
    at: Callable[[int], int] | None = None


class Series:
    """Bars with strictly rising times. Index 0 is the anchor. Values of a bar never change after it is appended."""

    def __init__(self, bars: Iterable[Bar] = ()) -> None:
        self._bars: list[Bar] = []
        self._buffers = {name: np.empty(_FIRST_CAPACITY) for name in CANDLE_FIELDS}
        self._columns: dict[str, Values] = {}
        self._indicators: OrderedDict[IndicatorSpec, IncrementalIndicator] = OrderedDict()
        self._truths: OrderedDict[str, Truths] = OrderedDict()
        self._first_defined: dict[IndicatorSpec, int] = {}
        self._ticks: tuple[Decimal, int, Ticks | None] | None = None
        self.extend(bars)

    def __len__(self) -> int:
        return len(self._bars)

    def bar(self, index: int) -> Bar:
        return self._bars[index]

    @property
    def bars(self) -> Sequence[Bar]:
        return self._bars

    def append(self, bar: Bar) -> None:
        self.extend((bar,))

    def extend(self, bars: Iterable[Bar]) -> None:
        added = list(bars)
        previous = self._bars[-1].open_time_ms if self._bars else None
        for bar in added:
            if previous is not None and bar.open_time_ms <= previous:
                raise ValueError(f"bar {bar.open_time_ms} does not come after {previous}")
            previous = bar.open_time_ms
        start, end = len(self._bars), len(self._bars) + len(added)
        self._reserve(end)
        for name, buffer in self._buffers.items():
            position = Bar._fields.index(name)
            buffer[start:end] = [float(bar[position]) for bar in added]
        self._bars.extend(added)
        for name, buffer in self._buffers.items():
            self._columns[name] = buffer[:end]

    def column(self, name: str) -> Values:
        """Return open, high, low, close or volume as float64."""
        return self._columns[name]

    def ticks(self, tick: Decimal) -> Ticks | None:
        """Return prices and times as integers, see `to_ticks`. Cached for the last tick."""
        if self._ticks is None or self._ticks[:2] != (tick, len(self)):
            columns = [self._columns[name] for name in ("open", "high", "low", "close")]
            self._ticks = (tick, len(self), to_ticks(self._bars, columns, tick))
        return self._ticks[2]

    def values(self, spec: IndicatorSpec) -> dict[str, Values]:
        """Return each output of the indicator by name (`value` if it has one), as long as the series."""
        return self._indicator(spec).values(self._columns)

    def _indicator(self, spec: IndicatorSpec) -> IncrementalIndicator:
        cached = self._indicators.get(spec)
        if cached is None:
            cached = self._indicators[spec] = IncrementalIndicator(spec)
            if len(self._indicators) > _CACHED_INDICATORS:
                self._indicators.popitem(last=False)
        return cached

    def first_defined(self, specs: Iterable[IndicatorSpec]) -> int | None:
        """Return the first bar at which all outputs of all specs are defined; None if there is none yet."""
        first = 0
        for spec in specs:
            cached = self._first_defined.get(spec)
            if cached is None:
                cached = _first_defined(list(self.values(spec).values()))
                if cached is None:
                    return None
                self._first_defined[spec] = cached
            first = max(first, cached)
        return first if first < len(self) else None

    def candle_at(self, name: str) -> Callable[[int], float]:
        """Return a function from a bar's index to the candle field; it stays valid as the series grows."""
        return lambda index: self._columns[name].item(index)

    def value_at(self, spec: IndicatorSpec, output: str) -> Callable[[int], float]:
        """Return a function from a bar's index to the indicator's output; it stays valid as the series grows."""
        indicator, position = self._indicator(spec), spec.outputs.index(output)
        return partial(indicator.at, self._columns, position)

    def truths(self, key: str) -> Truths:
        """Return the cached truths of a condition; the caller extends them to the newest bar."""
        cached = self._truths.get(key)
        if cached is None:
            cached = self._truths[key] = Truths()
            if len(self._truths) > _CACHED_TRUTHS:
                self._truths.popitem(last=False)
        return cached

    def share(self) -> "Series":
        """Return a series with the same bars and caches of its own, for another thread. Neither may grow then."""
        shared = Series()
        shared._bars, shared._buffers, shared._columns = self._bars, self._buffers, self._columns
        shared._ticks = self._ticks
        return shared

    def forget_truths(self) -> None:
        """Empty the cache of conditions, which a search over many of them would only fill."""
        self._truths.clear()

    def _reserve(self, length: int) -> None:
        capacity = len(self._buffers["close"])
        if length <= capacity:
            return
        capacity = max(2 * capacity, length)
        for name, buffer in self._buffers.items():
            grown = np.empty(capacity)
            grown[: len(self._bars)] = buffer[: len(self._bars)]
            self._buffers[name] = grown


def _first_defined(outputs: Sequence[Values]) -> int | None:
    """Return the first index at which no output is NaN. It is near the start, so the search goes piece by piece."""
    for start in range(0, len(outputs[0]), _PIECE):
        defined = ~np.isnan([each[start : start + _PIECE] for each in outputs]).any(axis=0)
        if defined.any():
            return start + int(defined.argmax())
    return None
