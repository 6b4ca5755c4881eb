"""Finds the next bar on which something may happen: a backtest steps through those bars and skips the others.

The search compares floats and decides nothing. It may return a bar too many, never one too few: rounding decimals
to floats keeps their order, so a price that reaches a level does so here too. Only a trailing stop is computed
here, and is moved nearer by a margin.

Plain numpy is enough: a year of minutes with 9,530 trades takes 1.1 to 1.3 times as long as with a scan compiled by
numba.
"""

from bisect import bisect_left
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from shared.strategy.bars import DAY_MS, Side
from shared.strategy.conditions.evaluation import truths
from shared.strategy.conditions.operators import TRUE
from shared.strategy.document.risk import TrailingStop
from shared.strategy.execution.outcome import Position
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from shared.strategy.tolerance import Flags, Values

# Bars of an open position that are compared at once, and by how much that grows while nothing happens.
_FIRST_BARS, _GROWTH = 64, 4
_MARGIN = 1e-12  # covers the rounding of a trailing stop in floats
_TICKS = 0.6  # covers its rounding to the tick


@dataclass(frozen=True, slots=True)
class _Prices:
    """The prices of each bar. For a short position they are negated, so that lower is worse for it too."""

    sign: int
    worst: Values
    best: Values
    close: Values


class Search:
    """Searches from an execution's state for the first bar that must be stepped through."""

    def __init__(self, execution: Execution, series: Series, first_decision: int | None) -> None:
        self._execution = execution
        self._series = series
        self._risk = execution.strategy.risk
        self._entries = _entries(execution, series, first_decision)
        self._exits = {side: truths(each, series) for side, each in execution.strategy.exit.items()}
        self._prices = {side: _prices(series, side) for side in execution.strategy.entry}

    def next_event(self, index: int) -> int:
        """Return the first bar from `index` on that must be stepped through; the series' length if none."""
        if self._execution.pending:
            return index
        position = self._execution.position
        if position is not None:
            return self._next_event_of(position, index)
        found = self._entries.find(1, self._first_entry_bar(index))
        return found if found >= 0 else len(self._series)

    def _first_entry_bar(self, index: int) -> int:
        """Return the first bar at whose close cooldown, daily loss and equity allow an entry."""
        execution = self._execution
        if execution.equity <= 0:
            return len(self._series)
        index += execution.cooldown
        stopped_day = execution.stopped_day
        if stopped_day is None:
            return index
        day_after = (stopped_day + 1) * DAY_MS
        return max(index, bisect_left(self._series.bars, day_after, key=lambda bar: bar.open_time_ms))

    def _next_event_of(self, position: Position, index: int) -> int:
        """Return the first bar on which the position reaches a level, an exit condition or its last bar."""
        prices, exits = self._prices[position.side], self._exits.get(position.side, b"")
        stop, target = prices.sign * _stop(position), prices.sign * _target(position)
        trailing, trail = self._risk.trailing_stop, None
        if trailing is not None:
            trail = _Trail(position, prices, trailing, self._execution.terms.instrument.tick_size)
        end, size = self._last_bar(index, position), _FIRST_BARS
        while index < end:
            until = min(index + size, end)
            leaves = exits.find(TRUE, index, until)
            if leaves >= 0:
                until = end = leaves
            part = slice(index, until)
            reached = (prices.worst[part] <= stop) | (prices.best[part] >= target)
            if trail is not None:
                reached |= trail.is_reached(part)
            first = reached.tobytes().find(1)
            if first >= 0:
                return index + first
            index, size = until, size * _GROWTH
        return end

    def _last_bar(self, index: int, position: Position) -> int:
        """Return the bar at whose close `max_bars` ends the position; the series' length if it does not."""
        bars, max_bars = len(self._series), self._risk.max_bars
        return bars if max_bars is None else min(bars, max(index, index + max_bars - position.bars - 1))


class _Trail:
    """The trailing stop of a position, in the order of the bars."""

    def __init__(self, position: Position, prices: _Prices, trailing: TrailingStop, tick: Decimal) -> None:
        sign, entry = prices.sign, prices.sign * float(position.entry_price)
        self._prices = prices
        self._extreme = sign * float(position.extreme)
        self._active_from = entry * (1 + sign * float(trailing.activation_fraction)) * (1 - sign * _MARGIN)
        self._factor = (1 - sign * float(trailing.fraction)) * (1 + sign * _MARGIN)
        self._room = _TICKS * float(tick)

    def is_reached(self, part: slice) -> Flags:
        """Return the bars that reach the stop, or close at or beyond the one for the next bar."""
        prices = self._prices
        with np.errstate(all="ignore"):
            extremes = np.maximum.accumulate(np.concatenate(([self._extreme], prices.best[part])))
            levels = np.where(extremes >= self._active_from, extremes * self._factor + self._room, -np.inf)
        self._extreme = extremes[-1]
        return (prices.worst[part] <= levels[:-1]) | (prices.close[part] <= levels[1:])


def _entries(execution: Execution, series: Series, first: int | None) -> bytes:
    """Return for each bar whether the entry condition of one side alone is true; 0 before the first decision."""
    alone = np.zeros(len(series), dtype=np.bool_)
    for condition in execution.strategy.entry.values():
        alone ^= np.frombuffer(truths(condition, series), dtype=np.uint8) == TRUE
    alone[:first] = False
    return alone.tobytes()


def _prices(series: Series, side: Side) -> _Prices:
    opened, high, low, close = (series.column(name) for name in ("open", "high", "low", "close"))
    lowest, highest = np.minimum(opened, low), np.maximum(opened, high)  # an unchecked bar may open beyond them
    if side == "LONG":
        return _Prices(1, lowest, highest, close)
    return _Prices(-1, -highest, -lowest, -close)


def _stop(position: Position) -> float:
    """Return the stop loss as a float, beyond every price if absent."""
    if position.stop is None:
        return -np.inf if position.side == "LONG" else np.inf
    return float(position.stop)


def _target(position: Position) -> float:
    """Return the next target's price as a float, beyond every price if absent."""
    if position.spent < len(position.targets):
        price = position.targets[position.spent].price
        if price is not None:
            return float(price)
    return np.inf if position.side == "LONG" else -np.inf
