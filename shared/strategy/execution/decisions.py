"""Decisions at a close: the side to enter, the size, and the evidence that is recorded."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from shared.strategy.bars import Bar, Side
from shared.strategy.conditions.evaluation import evaluate, extend_truths
from shared.strategy.conditions.operators import TRUE
from shared.strategy.decimals import HUNDRED, ZERO, exact, inexact, quantised_quotient
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Risk
from shared.strategy.execution.outcome import (
    Decision,
    EntryGuard,
    EntryOutcome,
    EntryProposal,
    Position,
    ProhibitionCode,
    Reason,
)
from shared.strategy.execution.sizing import Distances, Sizing, distances_at, percent_of_price
from shared.strategy.execution.snapshot import PendingEntry, State
from shared.strategy.series import Series

NO_DISTANCE = "no_distance"


class Signals:
    """Evaluates a strategy's conditions on one series."""

    def __init__(self, strategy: Strategy, series: Series) -> None:
        self.series = series
        self._entry = [(side, each, series.truths(each.key)) for side, each in strategy.entry.items()]
        self._exit = {side: (each, series.truths(each.key)) for side, each in strategy.exit.items()}

    def side_to_enter(self, index: int) -> Side | None:
        """Return the side whose entry condition is true while the other side's is not."""
        chosen: Side | None = None
        for side, condition, cached in self._entry:
            truths = cached.values
            if index >= len(truths):
                extend_truths(condition, self.series, cached)
            if truths[index] == TRUE:
                if chosen is not None:
                    return None
                chosen = side
        return chosen

    def should_exit(self, side: Side, index: int) -> bool:
        """Return whether the exit condition of this side is true."""
        found = self._exit.get(side)
        if found is None:
            return False
        condition, cached = found
        if index >= len(cached.values):
            extend_truths(condition, self.series, cached)
        return cached.values[index] == TRUE


class SizedEntry(NamedTuple):
    """A sized entry: the order for the next open, or the reason why there is none."""

    order: PendingEntry | None
    qty: Decimal | None
    outcome: EntryOutcome
    refusal: str | None = None


def size_entry(
    strategy: Strategy,
    sizing: Sizing,
    equity: Decimal,
    series: Series,
    index: int,
    side: Side,
    guard: EntryGuard | None,
) -> SizedEntry:
    """Size the entry of `side` at the bar's close, then call the guard."""
    bar = series.bar(index)
    distances = distances_at(strategy.risk, series, index)
    qty = None
    if distances is not None:
        qty = sizing.quantity(equity, bar.close, distances.stop)
    if distances is None or qty is None:
        return SizedEntry(None, None, "refused", NO_DISTANCE)
    if not sizing.is_large_enough(qty, bar.close):
        return SizedEntry(None, qty, "too_small")
    if guard is not None:
        with inexact():
            refusal = guard(_proposal(strategy, side, qty, bar, distances))
        if refusal is not None:
            return SizedEntry(None, qty, "refused", refusal)
    return SizedEntry(PendingEntry(side, qty, distances.stop, distances.targets), qty, "pending")


class Prohibition(NamedTuple):
    """A rule that forbids every entry at a close, with its limit (`allowed`) and the actual figure (`asked`)."""

    code: ProhibitionCode
    allowed: Decimal
    asked: Decimal


def find_prohibition(risk: Risk, state: State) -> Prohibition | None:
    """Return the rule that forbids entries now, or None. Call it inside `exact()`.

    `asked` of a cooldown is the number of closes that have passed; of a daily loss, the loss as a percentage of the
    equity at the start of the day.
    """
    if state.cooldown > 0:
        closes = risk.cooldown_bars
        return Prohibition("cooldown_bars", Decimal(closes), Decimal(closes - state.cooldown))
    if state.day.stopped and risk.max_daily_loss_percentage is not None:
        lost = quantised_quotient(-state.day.pnl * HUNDRED, state.day.equity)
        return Prohibition("max_daily_loss_percentage", risk.max_daily_loss_percentage, lost)
    if state.equity <= ZERO:
        return Prohibition("no_equity", ZERO, state.equity)
    return None


def forbidden_decision(
    strategy: Strategy, series: Series, index: int, side: Side, forbidden: Prohibition
) -> Decision:
    return Decision(
        time_ms=series.bar(index).open_time_ms,
        kind="entry",
        side=side,
        reason="entry",
        qty=None,
        outcome="refused",
        refusal=forbidden.code,
        values=_values(strategy, series, index),
        checks={**_truths(strategy, series, index), forbidden.code: False},
        allowed=forbidden.allowed,
        asked=forbidden.asked,
    )


def exit_decision(strategy: Strategy, series: Series, index: int, position: Position, reason: Reason) -> Decision:
    return Decision(
        time_ms=series.bar(index).open_time_ms,
        kind="exit",
        side=position.side,
        reason=reason,
        qty=position.left,
        outcome="pending",
        values=_values(strategy, series, index),
        checks=_truths(strategy, series, index),
    )


def entry_decision(
    strategy: Strategy, series: Series, index: int, side: Side, sized: SizedEntry, guarded: bool
) -> Decision:
    """Return the decision with its checks in the order of evaluation, up to the one that refused."""
    checks = _truths(strategy, series, index)
    checks["distance"] = sized.qty is not None
    if sized.qty is not None:
        checks["size"] = sized.outcome != "too_small"
    if guarded and sized.qty is not None and sized.outcome != "too_small":
        checks["guard"] = sized.refusal is None
    return Decision(
        time_ms=series.bar(index).open_time_ms,
        kind="entry",
        side=side,
        reason="entry",
        qty=sized.qty,
        outcome=sized.outcome,
        refusal=sized.refusal,
        values=_values(strategy, series, index),
        checks=checks,
    )


def _proposal(strategy: Strategy, side: Side, qty: Decimal, bar: Bar, distances: Distances) -> EntryProposal:
    stop = strategy.risk.stop_loss
    stop_pct = None
    if stop is not None:
        stop_pct = stop.value if distances.stop is None else percent_of_price(bar.close, distances.stop)
    targets = tuple(
        level.distance.value
        if level.distance.column is None
        else percent_of_price(bar.close, distances.targets[position])
        for position, level in enumerate(strategy.risk.take_profits or ())
    )
    with exact():
        notional = qty * bar.close
    return EntryProposal(side, qty, bar.close, notional, stop_pct, targets)


def _values(strategy: Strategy, series: Series, index: int) -> dict[str, float | None]:
    """Return the close and every output of the declared indicators at the bar; None if undefined."""
    values: dict[str, float | None] = {"close": series.column("close")[index].item()}
    for name, spec in strategy.indicators.items():
        for output, column in series.values(spec).items():
            value = column[index].item()
            key = name if spec.outputs == ("value",) else f"{name}.{output}"
            values[key] = value if np.isfinite(value) else None
    return values


def _truths(strategy: Strategy, series: Series, index: int) -> dict[str, bool | None]:
    checks: dict[str, bool | None] = {}
    for kind, conditions in (("entry", strategy.entry), ("exit", strategy.exit)):
        for side, condition in conditions.items():
            checks[f"{kind}.{side.lower()}"] = evaluate(condition, series, index)
    return checks
