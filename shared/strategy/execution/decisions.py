"""Decisions at a close: which side to enter, with how much, and the evidence that is kept of it."""

from decimal import Decimal
from typing import NamedTuple

import numpy as np

from shared.strategy.bars import Bar, Side
from shared.strategy.conditions.evaluation import carried_on, evaluate
from shared.strategy.decimals import HUNDRED, ZERO, exact, not_exact, quantised_quotient
from shared.strategy.document.nodes import TRUE
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Risk
from shared.strategy.execution.outcome import (
    Decision,
    EntryGuard,
    EntryOutcome,
    EntryProposal,
    Forbidden,
    Position,
    Reason,
)
from shared.strategy.execution.sizing import Distances, Sizing, distances_at, share_of
from shared.strategy.execution.snapshot import PendingEntry, State
from shared.strategy.series import Series

NO_DISTANCE = "no_distance"


class Signals:
    """What a strategy's conditions say on one series."""

    def __init__(self, strategy: Strategy, series: Series) -> None:
        self.series = series
        self._entry = [(side, each, series.truths(each.key)) for side, each in strategy.entry.items()]
        self._exit = {side: (each, series.truths(each.key)) for side, each in strategy.exit.items()}

    def side_to_enter(self, index: int) -> Side | None:
        """The side whose entry condition is true while the other's is not."""
        wanted: Side | None = None
        for side, condition, known in self._entry:
            truths = known.values
            if index >= len(truths):
                carried_on(condition, self.series, known)
            if truths[index] == TRUE:
                if wanted is not None:
                    return None
                wanted = side
        return wanted

    def leaves(self, side: Side, index: int) -> bool:
        """Whether the exit condition of this side is true."""
        found = self._exit.get(side)
        if found is None:
            return False
        condition, known = found
        if index >= len(known.values):
            carried_on(condition, self.series, known)
        return known.values[index] == TRUE


class Sized(NamedTuple):
    """An entry as sized: the order for the next open, or why there is none."""

    order: PendingEntry | None
    qty: Decimal | None
    outcome: EntryOutcome
    refusal: str | None = None


def sized_entry(
    strategy: Strategy,
    sizing: Sizing,
    equity: Decimal,
    series: Series,
    index: int,
    side: Side,
    guard: EntryGuard | None,
) -> Sized:
    """The entry for which the condition is true at this bar's close."""
    bar = series.bar(index)
    distances = distances_at(strategy.risk, series, index)
    qty = None
    if distances is not None:
        qty = sizing.quantity(equity, bar.close, distances.stop)
    if distances is None or qty is None:
        return Sized(None, None, "refused", NO_DISTANCE)
    if not sizing.is_large_enough(qty, bar.close):
        return Sized(None, qty, "too_small")
    if guard is not None:
        with not_exact():
            refusal = guard(_proposal(strategy, side, qty, bar, distances))
        if refusal is not None:
            return Sized(None, qty, "refused", refusal)
    return Sized(PendingEntry(side, qty, distances.stop, distances.targets), qty, "pending")


class Prohibition(NamedTuple):
    """What forbids every entry at a close, with its figures."""

    code: Forbidden
    allowed: Decimal
    asked: Decimal


def prohibition(risk: Risk, state: State) -> Prohibition | None:
    """To be called inside `exact()`. Of a cooldown `asked` is the number of closes that have passed, of a day's
    losses their percentage of the equity at its start."""
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
    strategy: Strategy, series: Series, index: int, side: Side, sized: Sized, guarded: bool
) -> Decision:
    """With the checks in the order in which they were made, up to the one that refused."""
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
        stop_pct = stop.value if distances.stop is None else share_of(bar.close, distances.stop)
    targets = tuple(
        level.distance.value if level.distance.column is None else share_of(bar.close, distances.targets[position])
        for position, level in enumerate(strategy.risk.take_profits or ())
    )
    with exact():
        notional = qty * bar.close
    return EntryProposal(side, qty, bar.close, notional, stop_pct, targets)


def _values(strategy: Strategy, series: Series, index: int) -> dict[str, float | None]:
    """The close and every output of the declared indicators at the bar; None where undefined."""
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
