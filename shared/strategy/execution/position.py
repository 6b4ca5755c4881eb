"""A position's life: opened with its stop and targets, trailed, closed in parts, booked as a trade."""

from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter

from shared.strategy.bars import Bar, Side, Terms
from shared.strategy.decimals import (
    HUNDRED,
    ONE,
    ZERO,
    fill_price,
    floor_to_step,
    quantised,
    quantised_quotient,
    round_to_tick,
)
from shared.strategy.document.risk import MAX_TARGETS, Distance, Risk
from shared.strategy.execution.outcome import Fill, Position, Reason, Target, Trade
from shared.strategy.execution.snapshot import PendingEntry

_HIGH, _LOW = attrgetter("high"), attrgetter("low")
_PERCENTAGES = (None,) * MAX_TARGETS


def is_hit(long: bool, price: Decimal, level: Decimal) -> bool:
    """Whether a price moving in the position's favour is at or beyond the level."""
    return price >= level if long else price <= level


def slipped(price: Decimal, buying: bool, terms: Terms) -> Decimal:
    """The fill price of a market order: slippage against us, to the tick."""
    if terms.slippage:
        price *= ONE + terms.slippage if buying else ONE - terms.slippage
    return fill_price(price, terms.instrument.tick_size)


def open_position(entry: PendingEntry, time_ms: int, price: Decimal, risk: Risk, terms: Terms) -> Position:
    """The position that an entry fill at `price` gives; stop and targets are computed from that price."""
    side, qty, tick = entry.side, entry.qty, terms.instrument.tick_size
    stop = None
    if risk.stop_loss is not None:
        stop = _level(price, side == "SHORT", risk.stop_loss, entry.stop_distance, tick)
    fee = price * qty * terms.fee
    trail = trail_at(side, price, price, risk, tick)
    targets = _targets(entry, price, risk, terms)
    # By position and not by name, here and below: it is the hot path of a backtest.
    return Position(side, time_ms, price, qty, qty, ZERO, fee, ZERO, stop, trail, price, targets, 0, 0)


def trail_at(side: Side, entry: Decimal, extreme: Decimal, risk: Risk, tick: Decimal) -> Decimal | None:
    """The trailing stop for the next bar; None while it is not live."""
    trailing = risk.trailing_stop
    if trailing is None:
        return None
    long = side == "LONG"
    activation = entry * trailing.activation_fraction
    if not is_hit(long, extreme, entry + activation if long else entry - activation):
        return None
    distance = extreme * trailing.fraction
    return _existing(extreme - distance if long else extreme + distance, tick)


def standing_stop(position: Position) -> tuple[Decimal, Reason] | None:
    """The tighter of stop loss and trailing stop; where they are equal it counts as the stop loss."""
    stop, trail = position.stop, position.trail
    if trail is None:
        return None if stop is None else (stop, "stop_loss")
    if stop is None or (trail > stop if position.side == "LONG" else trail < stop):
        return (trail, "trailing_stop")
    return (stop, "stop_loss")


def track_extreme(position: Position, bars: Sequence[Bar], risk: Risk, tick: Decimal) -> None:
    """The extreme takes in these bars, and the trailing stop is moved to where it stands for the next.

    Only a trailing stop asks for the extreme: without one it stays where it is.
    """
    if risk.trailing_stop is None:
        return
    if position.side == "LONG":
        extreme = max(position.extreme, max(map(_HIGH, bars)))
    else:
        extreme = min(position.extreme, min(map(_LOW, bars)))
    if extreme != position.extreme:
        position.extreme = extreme
        position.trail = trail_at(position.side, position.entry_price, extreme, risk, tick)


def close_part(
    position: Position, time_ms: int, price: Decimal, qty: Decimal, reason: Reason, terms: Terms
) -> Fill:
    """Takes `qty` off the position at `price`."""
    notional = price * qty
    fee = notional * terms.fee
    gain = price - position.entry_price if position.side == "LONG" else position.entry_price - price
    position.left -= qty
    position.gross += gain * qty
    position.fees += fee
    position.closed_notional += notional
    return Fill(time_ms, "close", position.side, qty, price, fee, reason)


def to_trade(position: Position, last: Fill, strategy_hash: str) -> Trade:
    """The trade of a position of which the last fill left nothing."""
    pnl = quantised(position.gross - position.fees)
    notional = position.entry_price * position.qty
    at_once = last.qty == position.qty
    return Trade(
        position.side,
        position.entry_time,
        last.time_ms,
        position.entry_price,
        quantised(last.price) if at_once else quantised_quotient(position.closed_notional, position.qty),
        position.qty,
        position.gross,
        position.fees,
        pnl,
        quantised_quotient(pnl * HUNDRED, notional) if notional else ZERO,
        last.reason,
        strategy_hash,
        position.bars,
    )


def _targets(entry: PendingEntry, filled: Decimal, risk: Risk, terms: Terms) -> tuple[Target, ...]:
    tick, step, qty, above = terms.instrument.tick_size, terms.instrument.qty_step, entry.qty, entry.side == "LONG"
    distances = entry.target_distances or _PERCENTAGES
    targets = []
    for index, level in enumerate(risk.take_profits or ()):
        price = _level(filled, above, level.distance, distances[index], tick)
        part = qty if level.closes_all else floor_to_step(qty * level.close_fraction, step)
        targets.append(Target(price, part, index == risk.rest_at))
    return tuple(targets)


def _level(
    filled: Decimal, above: bool, asked: Distance, distance: Decimal | None, tick: Decimal
) -> Decimal | None:
    """Where a stop or target stands: so far away in price or, where that is None, by its percentage."""
    if distance is None:
        return _existing(filled * (asked.above if above else asked.below), tick)
    return _existing(filled + distance if above else filled - distance, tick)


def _existing(price: Decimal, tick: Decimal) -> Decimal | None:
    return round_to_tick(price, tick) or None
