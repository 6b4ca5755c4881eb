"""Explain a decision: its reasons and its results, from data that never changes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from services.trading.domain import ConfigurationLimits, instrument_at
from services.trading.operations.execution_settings import strategy_of, terms_of
from services.trading.queries.decisions import DecisionRow, get_decision
from services.trading.queries.fills import FillRow, list_fills_of_decision
from services.trading.queries.restrictions import (
    BY_NUMBER,
    Kind,
    RestrictionRow,
    instrument_changes,
    list_restrictions,
)
from services.trading.queries.sessions import SessionRow, get_session
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection
from shared.strategy.bars import Instrument
from shared.strategy.decimals import exact, quantise
from shared.strategy.document.parse import Strategy
from shared.strategy.document.risk import Distance
from shared.strategy.execution.decisions import NO_DISTANCE
from shared.strategy.execution.sizing import percent_of_price

MAX_RESTRICTIONS = 10_000
RESTRICTION_BY_REFUSAL: Mapping[str, Kind] = {
    "paused": "PAUSED",
    "plan_limit": "PLAN_LIMIT",
    "feed_silent": "FEED_SILENT",
    "kill_switch": "KILL_SWITCH",
    "account_risk": "ACCOUNT_RISK",
    "not_reconciled": "NOT_RECONCILED",
    "account_refused": "ACCOUNT_REFUSED",
    "session_failed": "FAILED",
    "frozen": "FROZEN",
    "stopping": "STOPPING",
}


@dataclass(frozen=True)
class RefusedBy:
    """The limit that refused an entry. `allowed` and `asked` are set for amounts, `plan` for a plan's limit,
    `after_bar` for a restriction: the bar after which it applied."""

    limit: str
    allowed: Decimal | None = None
    asked: Decimal | None = None
    plan: str | None = None
    after_bar: datetime | None = None


@dataclass(frozen=True)
class Explanation:
    decision: DecisionRow
    session: SessionRow
    fills: Sequence[FillRow]
    refused_by: RefusedBy | None


async def explain_decision(connection: Connection, user_id: int, decision_id: UUID) -> Explanation:
    """Raises NotFound."""
    decision = await get_decision(connection, user_id, decision_id)
    session = await get_session(connection, user_id, decision.session_id)
    restrictions = await list_restrictions(
        connection, user_id, decision.session_id, Slice(BY_NUMBER, MAX_RESTRICTIONS)
    )
    fills = await list_fills_of_decision(connection, user_id, decision_id)
    strategy = strategy_of(session.strategy_config)
    return Explanation(decision, session, fills, refused_by(decision, session, strategy, restrictions))


def refused_by(
    decision: DecisionRow, session: SessionRow, strategy: Strategy, restrictions: Sequence[RestrictionRow]
) -> RefusedBy | None:
    """Return the limit that refused the decision; None if it was ordered."""
    close = _number(decision.values.get("close"))
    if decision.refusal is None:
        return None
    if decision.allowed is not None:
        return RefusedBy(decision.refusal, decision.allowed, decision.asked)
    if decision.refusal == "too_small" and decision.qty is not None and close is not None:
        changed = instrument_at(instrument_changes(restrictions), decision.time)
        return _too_small(decision.qty, close, changed or terms_of(session).instrument)
    if decision.refusal in RESTRICTION_BY_REFUSAL:
        return _restricted(decision, RESTRICTION_BY_REFUSAL[decision.refusal], restrictions)
    return _exceeded_limit(decision.refusal, decision, close, session.limits, strategy)


def _too_small(qty: Decimal, close: Decimal, instrument: Instrument) -> RefusedBy:
    if qty <= 0 or qty < instrument.min_order_qty:
        return RefusedBy("min_order_qty", instrument.min_order_qty, qty)
    return RefusedBy("min_notional", instrument.min_notional, _notional(qty, close))


def _restricted(decision: DecisionRow, kind: Kind, restrictions: Sequence[RestrictionRow]) -> RefusedBy:
    """Return the restriction that applied at that bar: the latest of its kind before it."""
    before = [each for each in restrictions if each.after_bar is None or each.after_bar < decision.time]
    found = next((each for each in reversed(before) if each.kind == kind), None)
    if found is None:
        return RefusedBy(decision.refusal or kind)
    if kind != "PLAN_LIMIT":
        return RefusedBy(decision.refusal or kind, after_bar=found.after_bar)
    allowed = Decimal(found.limit_value) if found.limit_value is not None else None
    asked = allowed + 1 if allowed is not None else None  # including this session, the first beyond the limit
    return RefusedBy(found.limit_name or "plan_limit", allowed, asked, found.reason, found.after_bar)


def _exceeded_limit(
    refusal: str, decision: DecisionRow, close: Decimal | None, limits: ConfigurationLimits, strategy: Strategy
) -> RefusedBy:
    allowed: Decimal | None = getattr(limits, refusal, None)
    if refusal == NO_DISTANCE:
        return _no_distance(decision, strategy)
    if close is None or decision.qty is None:
        return RefusedBy(refusal, allowed)
    stop = strategy.risk.stop_loss
    targets = strategy.risk.take_profits or ()
    match refusal:
        case "max_position_size":
            return RefusedBy(refusal, allowed, _notional(decision.qty, close))
        case "stop_loss_percentage" | "min_stop_distance_percentage" if stop is not None:
            return RefusedBy(refusal, allowed, _percentage(stop, decision, close))
        case "take_profit_percentage" if targets:
            return RefusedBy(refusal, allowed, _percentage(targets[-1].distance, decision, close))
    return RefusedBy(refusal, allowed)


def _no_distance(decision: DecisionRow, strategy: Strategy) -> RefusedBy:
    """Name the first stop or target whose distance is not above 0. `asked` is None for an undefined indicator."""
    stop, targets = strategy.risk.stop_loss, strategy.risk.take_profits or ()
    for distance in [*([stop] if stop else []), *(level.distance for level in targets)]:
        if distance.column is not None:
            value = _number(decision.values.get(distance.column.name))
            if value is None or value <= 0:
                return RefusedBy(NO_DISTANCE, Decimal(0), None if value is None else distance.value * value)
    return RefusedBy(NO_DISTANCE, Decimal(0))


def _notional(qty: Decimal, close: Decimal) -> Decimal:
    with exact():
        return quantise(qty * close)


def _percentage(distance: Distance, decision: DecisionRow, close: Decimal) -> Decimal | None:
    """Return the distance in percent of the close of the decision bar; None if its indicator is undefined."""
    if distance.column is None:
        return distance.value
    value = _number(decision.values.get(distance.column.name))
    return None if value is None else quantise(percent_of_price(close, distance.value * value))


def _number(value: float | None) -> Decimal | None:
    """Convert a series' value as the decimal arithmetic does: by its shortest text."""
    return None if value is None else Decimal(repr(value))
