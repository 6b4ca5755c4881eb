"""Finds the next bar on which something may happen: a backtest steps through those and passes the others."""

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

_FIRST_LOOK, _FARTHEST_LOOK = 4, 512
_WORTH_LOADING = 50_000  # bars from which on a process that has no compiled scan yet gains by one


def worthwhile(bars: int) -> bool:
    """Whether searching beats stepping through every bar: loading the compiled scan takes its time, once."""
    return bars >= _WORTH_LOADING or "numba" in sys.modules


@cache
def _compiled() -> Callable[..., int]:
    import numba

    try:
        compiled: Callable[..., int] = numba.njit(cache=True, nogil=True)(scan)
    except RuntimeError:  # no folder to keep it in
        compiled = numba.njit(nogil=True)(scan)
    return compiled


class Search:
    """Looks ahead from where an execution stands, by guesses; where one was wrong it looks again."""

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
            _leaves(execution, series, "LONG"),
            _leaves(execution, series, "SHORT"),
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
        self._stretches = np.zeros((_FARTHEST_LOOK, STRETCH), dtype=np.int64)
        self._levels = np.zeros((_FARTHEST_LOOK, LEVELS))
        self._most = _FIRST_LOOK
        self._ahead: list[tuple[int, int, int, int, float, float]] = []
        self._at = 0

    def next_event(self, index: int) -> int:
        """The first bar from this one on that has to be stepped through; the series' length if there is none."""
        execution, ahead = self._execution, self._ahead
        if execution.pending:
            return index
        at = self._at
        while at < len(ahead) and ahead[at][1] < index:
            at += 1
        self._at = at
        if at < len(ahead):
            begin, end, mode, limit, adverse, favourable = ahead[at]
            if begin <= index and self._holds(index, mode, limit, adverse, favourable):
                return end
            self._most = _FIRST_LOOK
        return self._look(index)

    def _holds(self, index: int, mode: int, limit: int, adverse: float, favourable: float) -> bool:
        """Whether a stretch that was guessed ends no later than it must for the state as it is."""
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

    def _look(self, index: int) -> int:
        """Scan from the state as it is."""
        execution, row, level = self._execution, self._stretches[0], self._levels[0]
        position = execution.position
        row[BEGIN] = index
        if position is None:
            row[MODE] = FLAT
            row[LIMIT] = self._may_enter_from(index)
        else:
            row[MODE] = LONG if position.side == "LONG" else SHORT
            row[LIMIT] = self._last_bar(index, position)
            level[ADVERSE], level[FAVOURABLE] = _stop(position), _target(position)
            level[EXTREME], level[ENTRY] = float(position.extreme), float(position.entry_price)
        count = self._scan(*self._columns, self._rules, self._counts, self._stretches, self._levels, self._most)
        self._ahead = list(
            zip(
                *(self._stretches[:count, each].tolist() for each in (BEGIN, END, MODE, LIMIT)),
                *(self._levels[:count, each].tolist() for each in (ADVERSE, FAVOURABLE)),
                strict=True,
            )
        )
        self._at = 0
        self._most = min(4 * self._most, _FARTHEST_LOOK)
        return self._ahead[0][1]

    def _last_bar(self, index: int, position: Position) -> int:
        """The bar at whose close the position has lived long enough; the series' length where it may live on."""
        most = self._max_bars
        return len(self._series) if most is None else max(index, index + most - position.bars - 1)

    def _may_enter_from(self, index: int) -> int:
        """The first bar at whose close an entry is not forbidden beforehand."""
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
    """The side whose entry condition alone is true, from the first decision bar on."""
    sides = np.zeros(len(series), dtype=np.int8)
    for side, condition in execution.strategy.entry.items():
        true = np.frombuffer(truths(condition, series), dtype=np.uint8) == TRUE
        sides += true.view(np.int8) if side == "LONG" else -true.view(np.int8)
    sides[:first] = 0
    return sides


def _leaves(execution: Execution, series: Series, side: Side) -> Flags:
    condition = execution.strategy.exit.get(side)
    if condition is None:
        return np.zeros(len(series), dtype=np.uint8)
    return np.array(np.frombuffer(truths(condition, series), dtype=np.uint8))


def _distances(distance: Distance | None, series: Series) -> Floats:
    """Of each bar, where they are taken from a column."""
    if distance is None or distance.column is None:
        return np.zeros(len(series))
    return distance.column.values(series) * float(distance.value)


def _percentage(distance: Distance | None) -> float:
    """As a fraction of the price; infinite where there is no such stop or target, 0 where it is no percentage."""
    if distance is None:
        return np.inf
    return float(distance.fraction) if distance.column is None else 0.0


def _stop(position: Position) -> float:
    """The stop loss as a float, beyond every price where there is none; the trailing stop is the scan's."""
    if position.stop is None:
        return -np.inf if position.side == "LONG" else np.inf
    return float(position.stop)


def _target(position: Position) -> float:
    """The next level as a float, beyond every price where there is none."""
    if position.spent < len(position.targets):
        price = position.targets[position.spent].price
        if price is not None:
            return float(price)
    return np.inf if position.side == "LONG" else -np.inf
