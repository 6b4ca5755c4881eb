"""Books a whole backtest in integers, if it fits, and turns the result back into decimals where it is asked for."""

import sys
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

import numpy as np

from shared.strategy.backtest.integers import kernel, lines
from shared.strategy.backtest.integers.distances import distance_codes
from shared.strategy.backtest.integers.kernel import Bars
from shared.strategy.backtest.integers.scales import BeyondBound, Plan, digits, make_plan
from shared.strategy.bars import Terms
from shared.strategy.conditions.evaluation import truths
from shared.strategy.conditions.operators import TRUE
from shared.strategy.document.nodes import Condition
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Risk
from shared.strategy.series import Series
from shared.strategy.ticks import Integers, Ticks
from shared.strategy.tolerance import Flags, Values

WORTH_LOADING_NUMBA = 500_000
"""Bars that Python runs in about the time that loading numba and the compiled kernel takes."""
_COMPILED = "shared.strategy.backtest.integers.compiled"
_bars_run_by_python = 0


@dataclass(frozen=True, slots=True)
class Booking:
    """Rows of fills and trades (columns: see `kernel.py`), and money in 10⁻⁸."""

    ticks: Ticks
    fills: Integers
    trades: Integers
    equity: int
    fall: int
    below: int
    """The largest fall of equity after a trade, and the highest equity before it."""
    fingerprint: str


def book(
    strategy: Strategy, series: Series, terms: Terms, first: int | None, compiled: bool | None = None
) -> Booking | None:
    """Run the strategy over all bars; None if its integers might not fit, or cannot decide.

    `compiled`: whether to run the compiled kernel; None: if that is faster for this process. The result is equal.
    """
    if compiled is None:
        compiled = _is_worth_compiling(len(series))
    ticks = series.ticks(terms.instrument.tick_size) if len(series) else None
    if ticks is None or ticks.lowest < 1:
        return None
    signals = [
        _truths(conditions.get(side), series)
        for conditions in (strategy.entry, strategy.exit)
        for side in ("LONG", "SHORT")
    ]
    candidates = _candidates(signals, first)
    try:
        distances = distance_codes(strategy.risk, series, terms.instrument.tick_size, candidates)
        plan = make_plan(strategy, terms, ticks, first, int(distances.max(initial=0)))
    except BeyondBound:
        return None
    count = int(np.count_nonzero(candidates))
    levels = plan.rules[kernel.LEVELS]
    rows = np.empty(count * (levels + 2) * kernel.FILL_COLUMNS, dtype=np.int64)
    trades = np.empty(count * kernel.TRADE_COLUMNS, dtype=np.int64)
    columns = (ticks.opens, ticks.highs, ticks.lows, ticks.closes, ticks.days)
    stop_values = _stop_values(strategy.risk, series)
    state = _run(plan, [*columns, *signals, distances.ravel(), stop_values], rows, trades, compiled)
    if state[kernel.STATUS]:
        return None
    fills = rows.reshape(-1, kernel.FILL_COLUMNS)[: state[kernel.FILLS]]
    return Booking(
        ticks,
        fills,
        trades.reshape(-1, kernel.TRADE_COLUMNS)[: state[kernel.TRADES]],
        state[kernel.EQUITY],
        state[kernel.FALL],
        state[kernel.BELOW_PEAK],
        _fingerprint(fills, ticks, terms, compiled),
    )


def _is_worth_compiling(bars: int) -> bool:
    """Return whether this process has numba, or has run so many bars without that it should load it now."""
    global _bars_run_by_python
    if _COMPILED not in sys.modules:
        _bars_run_by_python += bars
    return _COMPILED in sys.modules or _bars_run_by_python >= WORTH_LOADING_NUMBA


def _truths(condition: Condition | None, series: Series) -> Flags:
    if condition is None:
        return _never(len(series))
    return np.frombuffer(truths(condition, series), dtype=np.uint8)


@lru_cache(maxsize=4)
def _never(bars: int) -> Flags:
    return np.zeros(bars, dtype=np.uint8)


def _candidates(signals: list[Flags], first: int | None) -> Flags:
    """Return the bars at which one side's entry condition alone is true, from the first decision bar on."""
    long, short = (each == TRUE for each in signals[:2])
    candidates: Flags = long ^ short
    candidates[:first] = False
    return candidates


def _stop_values(risk: Risk, series: Series) -> Values:
    """Return the indicator of the stop if the quantity depends on it."""
    if risk.size_type != "risk_percent" or risk.stop_loss is None or risk.stop_loss.column is None:
        return np.empty(0)
    return np.ascontiguousarray(risk.stop_loss.column.values(series))


def _run(plan: Plan, columns: list[Any], fills: Any, trades: Any, compiled: bool) -> list[int]:
    """Run the kernel and return its state."""
    if compiled:
        from shared.strategy.backtest.integers.compiled import load

        state = np.zeros(kernel.STATE, dtype=np.int64)
        rules = np.array(plan.rules, dtype=np.int64)
        load().book(Bars(*columns), rules, plan.size_factor, state, fills, trades)
        return state.tolist()
    found = [0] * kernel.STATE
    lists = Bars(*(each.tolist() for each in columns))
    kernel.book(lists, plan.rules, plan.size_factor, found, fills, trades)
    return found


def _fingerprint(fills: Integers, ticks: Ticks, terms: Terms, compiled: bool) -> str:
    scales = [*digits(terms.instrument.tick_size), *digits(terms.instrument.qty_step)]
    room = len(fills) * lines.LONGEST_LINE
    if compiled:
        from shared.strategy.backtest.integers.compiled import load

        out = np.empty(room, dtype=np.uint8)
        length = load().write_lines(fills, len(fills), ticks.times, np.array(scales), _TEXT, _STARTS, out)
        return sha256(out[:length].data).hexdigest()
    text = bytearray(room)
    length = lines.write_lines(
        fills.ravel().tolist(), len(fills), ticks.times.tolist(), scales, lines.TEXT, lines.STARTS, text
    )
    return sha256(text[:length]).hexdigest()


_TEXT = np.frombuffer(lines.TEXT, dtype=np.uint8).copy()
_STARTS = np.array(lines.STARTS, dtype=np.int64)
