"""Finds the next bar on which something may happen: a backtest steps through those bars and skips the others."""

import sys
from bisect import bisect_left
from collections.abc import Callable
from functools import cache

import numpy as np

from shared.strategy.backtest.event_scan import (
    ACTIVATION,
    ADVERSE,
    ALL_AT_ONCE,
    BEGIN,
    COOLDOWN,
    COUNTS,
    END,
    ENTRY,
    EXTREME,
    FAVOURABLE,
    FLAT,
    LEVELS,
    LIMIT,
    LONG,
    MAX_BARS,
    MODE,
    REVERSES,
    RULES,
    SHORT,
    SLIPPAGE,
    STOP,
    STRETCH,
    TARGET,
    TICK,
    TRAIL,
    Flags,
    Floats,
    Sides,
    scan,
)
from shared.strategy.bars import DAY_MS, Side
from shared.strategy.conditions.evaluation import truths
from shared.strategy.document.nodes import TRUE
from shared.strategy.document.risk import Distance
from shared.strategy.execution.outcome import Position
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series

# Stretches per scan. Each scan looks for four times as many as the one before, as long as the guesses hold.
_FIRST_STRETCHES, _MAX_STRETCHES = 4, 512
_WORTH_LOADING = 50_000  # bars: with more, loading numba pays off


def is_worthwhile(bars: int) -> bool:
    """Return whether searching is faster than stepping through every bar. Loading numba takes time, once."""
    return bars >= _WORTH_LOADING or "numba" in sys.modules


@cache
def _compiled() -> Callable[..., int]:
    import numba

    try:
        compiled: Callable[..., int] = numba.njit(cache=True, nogil=True)(scan)
    except RuntimeError:  # no writable folder for the cache
        compiled = numba.njit(nogil=True)(scan)
    return compiled


class Search:
    """Scans ahead from an execution's state by guessing what follows; scans again after a wrong guess."""

    def __init__(self, execution: Execution, series: Series, first_decision: int | None) -> None:
        self._execution = execution
        self._series = series
        self._scan = _compiled()
        risk, strategy = execution.strategy.risk, execution.strategy
        first = len(series) if first_decision is None else first_decision
        targets = risk.take_profits or ()
        self._columns = (
            *(series.column(name) for name in ("open", "high", "low", "close")),
            _entries(execution, series, first),
            _exits(execution, series, "LONG"),
            _exits(execution, series, "SHORT"),
            _distances(risk.stop_loss, series),
            _distances(targets[0].distance if targets else None, series),
        )
        self._rules, self._counts = np.zeros(RULES), np.zeros(COUNTS, dtype=np.int64)
        self._rules[SLIPPAGE] = float(execution.terms.slippage)
        self._rules[TICK] = float(execution.terms.instrument.tick_size)
        self._rules[STOP] = _percentage(risk.stop_loss)
        self._rules[TARGET] = _percentage(targets[0].distance if targets else None)
        if risk.trailing_stop is not None:
            self._rules[TRAIL] = float(risk.trailing_stop.fraction)
            self._rules[ACTIVATION] = float(risk.trailing_stop.activation_fraction)
        self._counts[COOLDOWN] = risk.cooldown_bars
        self._max_bars = risk.max_bars
        self._counts[MAX_BARS] = risk.max_bars or -1
        self._counts[REVERSES] = strategy.side == "BOTH" and risk.cooldown_bars == 0
        self._counts[ALL_AT_ONCE] = len(targets) > 0 and targets[0].close_percent == 100
        self._stretches = np.zeros((_MAX_STRETCHES, STRETCH), dtype=np.int64)
        self._levels = np.zeros((_MAX_STRETCHES, LEVELS))
        self._max_stretches = _FIRST_STRETCHES
        self._ahead: list[tuple[int, int, int, int, float, float]] = []
        self._at = 0

    def next_event(self, index: int) -> int:
        """Return the first bar from `index` on that must be stepped through; the series' length if none."""
        execution, ahead = self._execution, self._ahead
        if execution.pending:
            return index
        at = self._at
        while at < len(ahead) and ahead[at][1] < index:
            at += 1
        self._at = at
        if at < len(ahead):
            begin, end, mode, limit, adverse, favourable = ahead[at]
            if begin <= index and self._is_valid(index, mode, limit, adverse, favourable):
                return end
            self._max_stretches = _FIRST_STRETCHES
        return self._scan_from(index)

    def _is_valid(self, index: int, mode: int, limit: int, adverse: float, favourable: float) -> bool:
        """Return whether a guessed stretch ends no later than the execution's actual state requires."""
        position = self._execution.position
        if position is None:
            return mode == FLAT and limit <= index + self._execution.cooldown
        if mode == FLAT or (mode == LONG) != (position.side == "LONG"):
            return False
        if self._max_bars is not None and limit > self._last_bar(index, position):
            return False
        stop, target = _stop(position), _target(position)
        if mode == LONG:
            return stop <= adverse and target >= favourable
        return stop >= adverse and target <= favourable

    def _scan_from(self, index: int) -> int:
        """Scan from the execution's actual state and return the first event."""
        execution, row, level = self._execution, self._stretches[0], self._levels[0]
        position = execution.position
        row[BEGIN] = index
        if position is None:
            row[MODE] = FLAT
            row[LIMIT] = self._first_entry_bar(index)
        else:
            row[MODE] = LONG if position.side == "LONG" else SHORT
            row[LIMIT] = self._last_bar(index, position)
            level[ADVERSE], level[FAVOURABLE] = _stop(position), _target(position)
            level[EXTREME], level[ENTRY] = float(position.extreme), float(position.entry_price)
        count = self._scan(
            *self._columns, self._rules, self._counts, self._stretches, self._levels, self._max_stretches
        )
        self._ahead = list(
            zip(
                *(self._stretches[:count, each].tolist() for each in (BEGIN, END, MODE, LIMIT)),
                *(self._levels[:count, each].tolist() for each in (ADVERSE, FAVOURABLE)),
                strict=True,
            )
        )
        self._at = 0
        self._max_stretches = min(4 * self._max_stretches, _MAX_STRETCHES)
        return self._ahead[0][1]

    def _last_bar(self, index: int, position: Position) -> int:
        """Return the bar at whose close `max_bars` ends the position; the series' length if there is no limit."""
        max_bars = self._max_bars
        return len(self._series) if max_bars is None else max(index, index + max_bars - position.bars - 1)

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


def _entries(execution: Execution, series: Series, first: int) -> Sides:
    """Return per bar the side whose entry condition alone is true; 0 before the first decision bar."""
    sides = np.zeros(len(series), dtype=np.int8)
    for side, condition in execution.strategy.entry.items():
        true = np.frombuffer(truths(condition, series), dtype=np.uint8) == TRUE
        sides += true.view(np.int8) if side == "LONG" else -true.view(np.int8)
    sides[:first] = 0
    return sides


def _exits(execution: Execution, series: Series, side: Side) -> Flags:
    condition = execution.strategy.exit.get(side)
    if condition is None:
        return np.zeros(len(series), dtype=np.uint8)
    return np.array(np.frombuffer(truths(condition, series), dtype=np.uint8))


def _distances(distance: Distance | None, series: Series) -> Floats:
    """Return the distance at each bar; zeros if it is not taken from a column."""
    if distance is None or distance.column is None:
        return np.zeros(len(series))
    return distance.column.values(series) * float(distance.value)


def _percentage(distance: Distance | None) -> float:
    """Return the fraction of the price; infinite for an absent stop or target, 0 if it is not a percentage."""
    if distance is None:
        return np.inf
    return float(distance.fraction) if distance.column is None else 0.0


def _stop(position: Position) -> float:
    """Return the stop loss as a float, beyond every price if absent. The scan computes the trailing stop."""
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
