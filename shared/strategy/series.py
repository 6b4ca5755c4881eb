"""A series of bars from its anchor, with every indicator and condition computed once for all who ask."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from shared.strategy.bars import Bar
from shared.strategy.conditions.tolerance import Values
from shared.strategy.indicators.incremental import IncrementalIndicator
from shared.strategy.indicators.recipes import CANDLE_FIELDS, IndicatorSpec

if TYPE_CHECKING:
    from shared.strategy.conditions.panel import Panel

_CACHED_INDICATORS = 1024
_CACHED_TRUTHS = 4096
_FIRST_CAPACITY = 1024
_PIECE = 1024


@dataclass(slots=True)
class Truths:
    """A condition's truth at each bar so far, and what answers for the next ones."""

    values: bytearray = field(default_factory=bytearray)
    at: Callable[[int], int] | None = None
    in_panel: bool = False


class Series:
    """Bars of strictly rising times. Index 0 is the anchor; values never change once their bar is there."""

    def __init__(self, bars: Iterable[Bar] = ()) -> None:
        self._bars: list[Bar] = []
        self._buffers = {name: np.empty(_FIRST_CAPACITY) for name in CANDLE_FIELDS}
        self._columns: dict[str, Values] = {}
        self._indicators: OrderedDict[IndicatorSpec, IncrementalIndicator] = OrderedDict()
        self._truths: OrderedDict[str, Truths] = OrderedDict()
        self._first_defined: dict[IndicatorSpec, int] = {}
        self.panel: Panel | None = None  # the conditions' own
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
        """One of open, high, low, close, volume as float64."""
        return self._columns[name]

    def values(self, spec: IndicatorSpec) -> dict[str, Values]:
        """Each output of the indicator (`value` where it is one series), as long as the series."""
        return self._carried(spec).values(self._columns)

    def _carried(self, spec: IndicatorSpec) -> IncrementalIndicator:
        known = self._indicators.get(spec)
        if known is None:
            known = self._indicators[spec] = IncrementalIndicator(spec)
            if len(self._indicators) > _CACHED_INDICATORS:
                self._indicators.popitem(last=False)
        return known

    def first_defined(self, specs: Iterable[IndicatorSpec]) -> int | None:
        """The first bar at which all of these are defined in all outputs; None if it has not come."""
        first = 0
        for spec in specs:
            known = self._first_defined.get(spec)
            if known is None:
                known = _first_defined(list(self.values(spec).values()))
                if known is None:
                    return None
                self._first_defined[spec] = known
            first = max(first, known)
        return first if first < len(self) else None

    def candle_at(self, name: str) -> Callable[[int], float]:
        """Answers a candle's field at a bar, as the series grows."""
        return lambda index: self._columns[name].item(index)

    def value_at(self, spec: IndicatorSpec, output: str) -> Callable[[int], float]:
        """Answers an indicator's output at a bar, as the series grows."""
        carried, position = self._carried(spec), spec.outputs.index(output)
        return partial(carried.at, self._columns, position)

    def truths(self, key: str) -> Truths:
        """What is known of a condition's truth; who asks carries it on."""
        known = self._truths.get(key)
        if known is None:
            known = self._truths[key] = Truths()
            if len(self._truths) > _CACHED_TRUTHS:
                self._truths.popitem(last=False)
        return known

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
    """The first place at which none is NaN: near the beginning, so that it is looked for piece by piece."""
    for start in range(0, len(outputs[0]), _PIECE):
        defined = ~np.isnan([each[start : start + _PIECE] for each in outputs]).any(axis=0)
        if defined.any():
            return start + int(defined.argmax())
    return None
