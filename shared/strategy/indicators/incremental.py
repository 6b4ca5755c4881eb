"""Indicators carried forward bar by bar by TA-Lib's own streams: what `compute` gives, bit for bit."""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

import numpy as np

from shared.strategy.conditions.tolerance import Values, is_above, settles_at
from shared.strategy.indicators.recipes import IndicatorSpec, compute, distance_pct, recipe
from shared.strategy.indicators.ta_lib import talib

_ROOM = 256
_CHEAPER_AT_ONCE = 50  # bars of a stream cost as much as so many times as many of the whole computation


class _Stream(Protocol):
    """What TA-Lib's streams have in common."""

    def update(self, *bar: float) -> float | tuple[float, ...]:
        """One more bar: its value, or its values."""


class IncrementalIndicator:
    """One indicator on one series: its values so far, and the stream that knows how they go on.

    Opening a stream takes one pass over the history, so it waits for the first bar that is added. The state follows
    from the bars alone: there is nothing to be stored over a restart.
    """

    def __init__(self, spec: IndicatorSpec) -> None:
        self._spec = spec
        self._recipe = recipe(spec)
        self._settle = settles_at(spec)
        derived = spec.type in ("CANDLES_ABOVE_EMA", "DISTANCE_FROM_EMA")
        self._first = self._recipe.columns[0]
        self._plain = len(self._recipe.columns) == len(spec.outputs) == 1 and not derived
        self._length = -1
        self._stream: _Stream | None = None
        self._all_at_once = False  # a value was not finite: TA-Lib's streams are defined for finite ones only
        self._buffers: tuple[Values, ...] = ()
        self._views: dict[str, Values] | None = None

    def values(self, columns: Mapping[str, Values]) -> dict[str, Values]:
        """Each output over these columns, which are those of the last time or longer."""
        length = len(columns["close"])
        if length != self._length:
            self._grow(columns, length)
        if self._views is None:
            buffers = zip(self._spec.outputs, self._buffers, strict=True)
            self._views = {name: buffer[:length] for name, buffer in buffers}
        return self._views

    def at(self, columns: Mapping[str, Values], output: int, index: int) -> float:
        """One output, by its place, at one bar: the hot path of live sessions."""
        if index == self._length and self._plain and self._stream is not None and index < len(self._buffers[0]):
            given = columns[self._first].item(index)
            if isfinite(given) and isfinite(value := self._stream.update(given)):  # type: ignore[arg-type]  # plain
                if self._settle is not None:
                    (value,) = self._settle(columns, index, (value,))  # type: ignore[arg-type]  # plain: no tuple
                self._buffers[0][index] = value
                self._length = index + 1
                self._views = None
                return value  # type: ignore[return-value]  # plain: not a tuple
            self._all_at_once = True
        length = len(columns["close"])
        if length != self._length:
            self._grow(columns, length)
        return self._buffers[output].item(index)

    def _grow(self, columns: Mapping[str, Values], length: int) -> None:
        self._views = None
        known = self._length
        if known <= 0 or self._all_at_once or (length - known) * _CHEAPER_AT_ONCE > length + _ROOM:
            self._compute(columns, length)
            return
        if self._stream is None and not self._open(columns):
            self._compute(columns, length)
            return
        self._reserve(length)
        for index in range(known, length):
            if not self._advance(columns, index):
                self._all_at_once = True
                self._compute(columns, length)
                return
        self._length = length

    def _compute(self, columns: Mapping[str, Values], length: int) -> None:
        self._stream = None
        self._buffers = tuple(compute(self._spec, columns).values())
        self._length = length

    def _open(self, columns: Mapping[str, Values]) -> bool:
        """Whether the stream stands at the last bar whose values are known."""
        inputs = [columns[name][: self._length] for name in self._recipe.columns]
        if not all(np.isfinite(each).all() for each in inputs):
            self._all_at_once = True
            return False
        try:
            self._stream = getattr(talib.stream, self._recipe.function)(*inputs, *self._recipe.arguments)
        except talib.InsufficientHistory:  # type: ignore[attr-defined]  # it is there, its stub forgets it
            return False
        return True

    def _advance(self, columns: Mapping[str, Values], index: int) -> bool:
        """The values at one more bar; False where the stream cannot say."""
        assert self._stream is not None
        inputs = [columns[name].item(index) for name in self._recipe.columns]
        if not all(map(isfinite, inputs)):
            return False
        answer = self._stream.update(*inputs)
        outputs = answer if isinstance(answer, tuple) else (answer,)
        if not all(map(isfinite, outputs)):
            return False
        if self._spec.type == "CANDLES_ABOVE_EMA":
            outputs = (self._buffers[0].item(index - 1) + 1.0 if is_above(inputs[0], outputs[0]) else 0.0,)
        elif self._spec.type == "DISTANCE_FROM_EMA":
            with np.errstate(all="ignore"):
                outputs = (distance_pct(columns["close"][index : index + 1], np.array(outputs)).item(),)
        if self._settle is not None:
            outputs = self._settle(columns, index, outputs)
        for buffer, value in zip(self._buffers, outputs, strict=True):
            buffer[index] = value
        return True

    def _reserve(self, length: int) -> None:
        if length <= len(self._buffers[0]):
            return
        grown = []
        for buffer in self._buffers:
            larger = np.empty(length + length // 4 + _ROOM)
            larger[: self._length] = buffer[: self._length]
            grown.append(larger)
        self._buffers = tuple(grown)
