"""The trading-stop request: stop loss, take profit and trailing stop of an open position."""

from decimal import Decimal

from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.fields import Fields
from sandbox.bybit.exchange.filters import check_price, check_quantity, check_stops
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.order_entry import check_mode
from sandbox.bybit.exchange.publication import publish_position
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.requests import TRIGGERS, read_limit
from sandbox.bybit.exchange.stops import (
    StopTerms,
    place_partial_stops,
    remove_stop,
    set_full_stop,
    set_trailing_stop,
)

PRICES = ("takeProfit", "stopLoss", "trailingStop", "activePrice", "tpLimitPrice", "slLimitPrice")


def set_trading_stop(account: Account, market: Market, fields: Fields) -> None:
    """Raises Refusal: without a position, on the wrong side of the price, or if nothing changes."""
    holding = account.holding(market)
    check_mode(holding, fields.number("positionIdx", 0, 1, 2))
    if not holding.position.net:
        raise Refusal(10001, "can not set tp/sl/ts for zero position")
    for name in PRICES:
        check_price(market.filters, name, fields.amount(name) or None)
    take_profit, stop_loss = fields.amount("takeProfit"), fields.amount("stopLoss")
    is_long = holding.position.is_long
    check_stops(is_long, _base(market, fields, "tpTriggerBy"), take_profit or None, None)
    check_stops(is_long, _base(market, fields, "slTriggerBy"), None, stop_loss or None)
    if fields.choice("tpslMode", "Full", "Partial", default="Full") == "Partial":
        _set_partial(holding, fields, take_profit or None, stop_loss or None)
    else:
        _set_full(holding, fields, take_profit, stop_loss)
    publish_position(holding)


def _base(market: Market, fields: Fields, name: str) -> Decimal:
    by_last = fields.choice(name, *TRIGGERS, default="LastPrice") == "LastPrice"
    return market.price if by_last else market.mark


def _set_full(holding: Holding, fields: Fields, take_profit: Decimal | None, stop_loss: Decimal | None) -> None:
    """Set, move or remove (0) the stops of the whole position; what is absent stays."""
    changes = []
    for name, kind, price in (("tp", "TakeProfit", take_profit), ("sl", "StopLoss", stop_loss)):
        trigger_by = fields.choice(f"{name}TriggerBy", *TRIGGERS, default="LastPrice")
        current = holding.find_stop(kind)
        if price is None or (current is None and not price):
            continue
        if current is None or (current.trigger_price, current.trigger_by) != (price, trigger_by):
            changes.append(StopTerms(kind, price, trigger_by))
    trailing = _changed_trailing_stop(holding, fields)
    if not changes and trailing is None:
        raise Refusal(34040)
    for terms in changes:
        if terms.trigger_price:
            set_full_stop(holding, terms)
        else:
            remove_stop(holding, terms.stop_order_type)
    if trailing is not None:
        distance, active_price = trailing
        if distance:
            set_trailing_stop(holding, distance, active_price)
        else:
            remove_stop(holding, "TrailingStop")


def _changed_trailing_stop(holding: Holding, fields: Fields) -> tuple[Decimal, Decimal | None] | None:
    """Return the distance (0: none) and the activation of the trailing stop; None if it stays as it is."""
    distance, active_price = fields.amount("trailingStop"), fields.amount("activePrice") or None
    order = holding.find_stop("TrailingStop")
    trail = order.trail if order else None
    if distance is None or (trail is None and not distance):
        return None
    if trail is not None and (trail.distance, trail.active_price) == (distance, active_price):
        return None
    price, is_long = holding.market.price, holding.position.is_long
    if active_price is not None and (active_price <= price if is_long else active_price >= price):
        raise Refusal(10001, f"TrailingProfit:{active_price} set for the position is passed by base_price:{price}")
    if is_long and distance >= (active_price or price):
        raise Refusal(10001, "params error: trailingStop invalid")
    return distance, active_price


def _set_partial(holding: Holding, fields: Fields, take_profit: Decimal | None, stop_loss: Decimal | None) -> None:
    """Add a take profit, a stop loss, or both as one-cancels-the-other, of a part of the position."""
    if take_profit is None and stop_loss is None:
        raise Refusal(34040)
    if fields.amount("trailingStop"):
        raise Refusal(10001, "params error: trailingStop needs tpslMode Full")
    sizes = [
        fields.amount(name) or ZERO
        for name, price in (("tpSize", take_profit), ("slSize", stop_loss))
        if price is not None
    ]
    if len(set(sizes)) > 1:
        raise Refusal(10001, "params error: tpSize and slSize must be equal")
    qty = sizes[0]
    check_quantity(holding.market.filters, qty, is_market=True, time_in_force="IOC")
    if qty > holding.position.size:
        raise Refusal(10001, "params error: tpSize or slSize exceeds the position")
    wanted = []
    for prefix, kind, price in (
        ("tp", "PartialTakeProfit", take_profit),
        ("sl", "PartialStopLoss", stop_loss),
    ):
        if price is not None:
            trigger_by = fields.choice(f"{prefix}TriggerBy", *TRIGGERS, default="LastPrice")
            limit = read_limit(fields, "tp" if prefix == "tp" else "sl", "Partial", price)
            wanted.append(StopTerms(kind, price, trigger_by, limit))
    place_partial_stops(holding, wanted, qty)
