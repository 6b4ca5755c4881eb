"""The arithmetic of a position: open it with stop and targets, trail the stop, close parts, book the trade."""

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
    quantise,
    quantised_quotient,
    round_to_tick,
)
from shared.strategy.document.risk import MAX_TARGETS, Distance, Risk
from shared.strategy.execution.outcome import Fill, Position, Reason, Target, Trade
from shared.strategy.execution.snapshot import PendingEntry

_HIGH, _LOW = attrgetter("high"), attrgetter("low")
_PERCENTAGES = (None,) * MAX_TARGETS


def is_hit(long: bool, price: Decimal, level: Decimal) -> bool:
    """Return whether the price has reached the level: at or above it if `long`, else at or below it."""
    return price >= level if long else price <= level


def apply_slippage(price: Decimal, buying: bool, terms: Terms) -> Decimal:
    """Return the fill price of a market order: slippage is adverse, the result is rounded to the tick."""
    if terms.slippage:
        price *= ONE + terms.slippage if buying else ONE - terms.slippage
    return fill_price(price, terms.instrument.tick_size)


def open_position(entry: PendingEntry, time_ms: int, price: Decimal, risk: Risk, terms: Terms) -> Position:
    """Return the position after an entry fill at `price`, from which stop and targets are computed."""
    side, qty, tick = entry.side, entry.qty, terms.instrument.tick_size
    stop = None
    if risk.stop_loss is not None:
        stop = _level_price(price, side == "SHORT", risk.stop_loss, entry.stop_distance, tick)
    fee = price * qty * terms.fee
    trail = trailing_stop_price(side, price, price, risk, tick)
    targets = _targets(entry, price, risk, terms)
    # Positional arguments, here and below, because they are faster and this is the hot path of a backtest.
    return Position(side, time_ms, price, qty, qty, ZERO, fee, ZERO, stop, trail, price, targets, 0, 0)


def trailing_stop_price(side: Side, entry: Decimal, extreme: Decimal, risk: Risk, tick: Decimal) -> Decimal | None:
    """Return the trailing stop for the next bar; None while it is not active."""
    trailing = risk.trailing_stop
    if trailing is None:
        return None
    long = side == "LONG"
    activation = entry * trailing.activation_fraction
    if not is_hit(long, extreme, entry + activation if long else entry - activation):
        return None
    distance = extreme * trailing.fraction
    return _positive_price(extreme - distance if long else extreme + distance, tick)


def active_stop(position: Position) -> tuple[Decimal, Reason] | None:
    """Return the tighter of stop loss and trailing stop; if they are equal, the stop loss. None without a stop."""
    stop, trail = position.stop, position.trail
    if trail is None:
        return None if stop is None else (stop, "stop_loss")
    if stop is None or (trail > stop if position.side == "LONG" else trail < stop):
        return (trail, "trailing_stop")
    return (stop, "stop_loss")


def track_extreme(position: Position, bars: Sequence[Bar], risk: Risk, tick: Decimal) -> None:
    """Update the extreme with these bars, and move the trailing stop to its level for the next bar.

    Does nothing without a trailing stop, because only that uses the extreme.
    """
    if risk.trailing_stop is None:
        return
    if position.side == "LONG":
        extreme = max(position.extreme, max(map(_HIGH, bars)))
    else:
        extreme = min(position.extreme, min(map(_LOW, bars)))
    if extreme != position.extreme:
        position.extreme = extreme
        position.trail = trailing_stop_price(position.side, position.entry_price, extreme, risk, tick)


def close_part(
    position: Position, time_ms: int, price: Decimal, qty: Decimal, reason: Reason, terms: Terms
) -> Fill:
    """Close `qty` of the position at `price` and return the fill."""
    notional = price * qty
    fee = notional * terms.fee
    gain = price - position.entry_price if position.side == "LONG" else position.entry_price - price
    position.left -= qty
    position.gross += gain * qty
    position.fees += fee
    position.closed_notional += notional
    return Fill(time_ms, "close", position.side, qty, price, fee, reason)


def to_trade(position: Position, last: Fill, strategy_hash: str) -> Trade:
    """Return the trade of a position that the `last` fill has closed."""
    pnl = quantise(position.gross - position.fees)
    notional = position.entry_price * position.qty
    in_one_fill = last.qty == position.qty
    return Trade(
        position.side,
        position.entry_time,
        last.time_ms,
        position.entry_price,
        quantise(last.price) if in_one_fill else quantised_quotient(position.closed_notional, position.qty),
        position.qty,
        position.gross,
        position.fees,
        pnl,
        quantised_quotient(pnl * HUNDRED, notional) if notional else ZERO,
        last.reason,
        strategy_hash,
        position.bars,
    )


def _targets(entry: PendingEntry, fill: Decimal, risk: Risk, terms: Terms) -> tuple[Target, ...]:
    tick, step, qty, above = terms.instrument.tick_size, terms.instrument.qty_step, entry.qty, entry.side == "LONG"
    distances = entry.target_distances or _PERCENTAGES
    targets = []
    for index, level in enumerate(risk.take_profits or ()):
        price = _level_price(fill, above, level.distance, distances[index], tick)
        part = qty if level.closes_all else floor_to_step(qty * level.close_fraction, step)
        targets.append(Target(price, part, index == risk.rest_index))
    return tuple(targets)


def _level_price(
    fill: Decimal, above: bool, spec: Distance, distance: Decimal | None, tick: Decimal
) -> Decimal | None:
    """Return the price of a stop or target at `distance` in price; if that is None, at the percentage in `spec`."""
    if distance is None:
        return _positive_price(fill * (spec.above if above else spec.below), tick)
    return _positive_price(fill + distance if above else fill - distance, tick)


def _positive_price(price: Decimal, tick: Decimal) -> Decimal | None:
    return round_to_tick(price, tick) or None
