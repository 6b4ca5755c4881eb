"""Updates indicators bar by bar with TA-Lib's own streams; the values equal those of `compute` bit for bit."""

from collections.abc import Mapping
from math import isfinite
from typing import Protocol

import numpy as np
import talib

from shared.strategy.indicators.noise import noise_suppressor
from shared.strategy.indicators.recipes import IndicatorSpec, recipe
from shared.strategy.indicators.values import compute, distance_pct
from shared.strategy.tolerance import Values, is_above

_ROOM = 256
_STREAM_COST = 50  # one bar of a stream costs as much as this many bars of `compute`


class _Stream(Protocol):
    """The interface of TA-Lib's streams."""

    def update(self, *bar: float) -> float | tuple[float, ...]:
        """Add a bar; return its value or values."""


class IncrementalIndicator:
    """One indicator on one series: its values so far, and the stream that computes the next ones.

    Opening a stream takes one pass over the history, so it is opened when the first bar is added. The state follows
    from the bars alone, so nothing is stored for a restart.
    """

    def __init__(self, spec: IndicatorSpec) -> None:
        self._spec = spec
        self._recipe = recipe(spec)
        self._suppress = noise_suppressor(spec)
        derived = spec.type in ("CANDLES_ABOVE_EMA", "DISTANCE_FROM_EMA")
        self._first = self._recipe.columns[0]
        self._plain = len(self._recipe.columns) == len(spec.outputs) == 1 and not derived
        self._length = -1
        self._stream: _Stream | None = None
        self._always_recompute = False  # set once a value is not finite: TA-Lib's streams need finite values
        self._buffers: tuple[Values, ...] = ()
        self._views: dict[str, Values] | None = None

    def values(self, columns: Mapping[str, Values]) -> dict[str, Values]:
        """Return each output by name. `columns` are those of the last call, possibly longer."""
        length = len(columns["close"])
        if length != self._length:
            self._grow(columns, length)
        if self._views is None:
            buffers = zip(self._spec.outputs, self._buffers, strict=True)
            self._views = {name: buffer[:length] for name, buffer in buffers}
        return self._views

    def at(self, columns: Mapping[str, Values], output: int, index: int) -> float:
        """Return one output, by its index in `spec.outputs`, at one bar. The hot path of live sessions."""
        if index == self._length and self._plain and self._stream is not None and index < len(self._buffers[0]):
            last = columns[self._first].item(index)
            if isfinite(last) and isfinite(value := self._stream.update(last)):  # type: ignore[arg-type]  # plain
                if self._suppress is not None:
                    (value,) = self._suppress(columns, index, (value,))  # type: ignore[arg-type]  # plain: no tuple
                self._buffers[0][index] = value
                self._length = index + 1
                self._views = None
                return value  # type: ignore[return-value]  # plain: not a tuple
            self._always_recompute = True
        length = len(columns["close"])
        if length != self._length:
            self._grow(columns, length)
        return self._buffers[output].item(index)

    def _grow(self, columns: Mapping[str, Values], length: int) -> None:
        self._views = None
        length_before = self._length
        if length_before <= 0 or self._always_recompute or (length - length_before) * _STREAM_COST > length + _ROOM:
            self._compute(columns, length)
            return
        if self._stream is None and not self._open(columns):
            self._compute(columns, length)
            return
        self._reserve(length)
        for index in range(length_before, length):
            if not self._advance(columns, index):
                self._always_recompute = True
                self._compute(columns, length)
                return
        self._length = length

    def _compute(self, columns: Mapping[str, Values], length: int) -> None:
        self._stream = None
        self._buffers = tuple(compute(self._spec, columns).values())
        self._length = length

    def _open(self, columns: Mapping[str, Values]) -> bool:
        """Open the stream at the last computed bar; False if a value is not finite or the history is too short."""
        inputs = [columns[name][: self._length] for name in self._recipe.columns]
        if not all(np.isfinite(each).all() for each in inputs):
            self._always_recompute = True
            return False
        try:
            self._stream = getattr(talib.stream, self._recipe.function)(*inputs, *self._recipe.arguments)
        except talib.InsufficientHistory:  # type: ignore[attr-defined]  # exists, but is missing in the stub
            return False
        return True

    def _advance(self, columns: Mapping[str, Values], index: int) -> bool:
        """Compute the values at one more bar; False if an input or a value is not finite."""
        assert self._stream is not None
        inputs = [columns[name].item(index) for name in self._recipe.columns]
        if not all(map(isfinite, inputs)):
            return False
        result = self._stream.update(*inputs)
        outputs = result if isinstance(result, tuple) else (result,)
        if not all(map(isfinite, outputs)):
            return False
        if self._spec.type == "CANDLES_ABOVE_EMA":
            outputs = (self._buffers[0].item(index - 1) + 1.0 if is_above(inputs[0], outputs[0]) else 0.0,)
        elif self._spec.type == "DISTANCE_FROM_EMA":
            with np.errstate(all="ignore"):
                outputs = (distance_pct(columns["close"][index : index + 1], np.array(outputs)).item(),)
        if self._suppress is not None:
            outputs = self._suppress(columns, index, outputs)
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
