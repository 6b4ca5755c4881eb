"""The stops of a position: stop loss, take profit and trailing stop, each an order of its own."""

from dataclasses import dataclass
from decimal import Decimal

from sandbox.bybit.exchange.accounts import Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.margin import closing_side
from sandbox.bybit.exchange.orders import (
    FALLING,
    PARTIAL_STOPS,
    RISING,
    UNTRIGGERED,
    AttachedStops,
    Order,
    Trail,
)
from sandbox.bybit.exchange.publication import end_order, publish_order
from sandbox.bybit.exchange.refusals import Refusal


@dataclass(frozen=True, slots=True)
class StopTerms:
    """The values of a stop to be placed. `limit_price` None: a market order once triggered."""

    stop_order_type: str
    trigger_price: Decimal
    trigger_by: str = "LastPrice"
    limit_price: Decimal | None = None


def place_stop(holding: Holding, terms: StopTerms, qty: Decimal, parent_link_id: str = "") -> Order:
    """Add a stop order to the position, and publish it."""
    market, journal = holding.market, holding.journal
    side = closing_side(holding)
    takes_profit = terms.stop_order_type in ("TakeProfit", "PartialTakeProfit")
    order = Order(
        symbol=holding.symbol,
        order_id=journal.next_id(),
        link_id="",
        side=side,
        is_market=terms.limit_price is None,
        price=terms.limit_price or ZERO,
        qty=qty,
        time_in_force="IOC" if terms.limit_price is None else "GTC",
        created_ms=journal.at_ms,
        status=UNTRIGGERED,
        parent_link_id=parent_link_id,
        reduce_only=True,
        close_on_trigger=True,
        create_type=f"CreateBy{terms.stop_order_type}",
        stop_order_type=terms.stop_order_type,
        trigger_price=terms.trigger_price,
        trigger_direction=RISING if takes_profit == (side == "Sell") else FALLING,
        trigger_by=terms.trigger_by,
        tpsl_mode="Partial" if terms.stop_order_type in PARTIAL_STOPS else "Full",
        last_price=market.last,
    )
    holding.add(order)
    publish_order(holding, order)
    return order


def set_full_stop(holding: Holding, terms: StopTerms, parent_link_id: str | None = None) -> None:
    """Set the stop loss or take profit of the whole position. A stop that exists keeps its id, and its parent
    unless there is a new one."""
    order = holding.find_stop(terms.stop_order_type)
    if order is None:
        place_stop(holding, terms, holding.position.size, parent_link_id or "")
        return
    order.trigger_price, order.trigger_by = terms.trigger_price, terms.trigger_by
    if parent_link_id is not None:
        order.parent_link_id = parent_link_id
    publish_order(holding, order)


def remove_stop(holding: Holding, stop_order_type: str) -> bool:
    """Cancel a stop of the whole position. Return whether there was one."""
    order = holding.find_stop(stop_order_type)
    if order is not None:
        end_order(holding, order, "CancelByUser")
    return order is not None


def set_trailing_stop(holding: Holding, distance: Decimal, active_price: Decimal | None) -> None:
    remove_stop(holding, "TrailingStop")
    price = holding.market.price
    trail = Trail(distance, active_price, price if active_price is None else None)
    order = place_stop(holding, StopTerms("TrailingStop", _behind(holding, trail)), holding.position.size)
    order.trail = trail


def _behind(holding: Holding, trail: Trail) -> Decimal:
    best = trail.best or trail.active_price or ZERO
    return best - trail.distance if holding.position.is_long else best + trail.distance


def follow_price(holding: Holding, price: Decimal) -> None:
    """Move the trailing stop after the price has reached a new best one, or activate it."""
    order = holding.find_stop("TrailingStop")
    trail = order.trail if order else None
    if order is None or trail is None:
        return
    is_long = holding.position.is_long
    if trail.best is None:
        assert trail.active_price is not None, "a trailing stop without activation is active from the start"
        if (price < trail.active_price) if is_long else (price > trail.active_price):
            return
        trail.best = trail.active_price
    best = max(trail.best, price) if is_long else min(trail.best, price)
    if best != trail.best or order.trigger_price != _behind(holding, trail):
        trail.best = best
        order.trigger_price = _behind(holding, trail)
        publish_order(holding, order)


def attach_stops(holding: Holding, order: Order, opened: Decimal) -> None:
    """Give the position the take profit and stop loss of the order that has opened `opened` of it."""
    stops = order.attached
    if stops is None or not opened:
        return
    holding.position.tpsl_mode = stops.mode
    wanted = _terms(stops)
    if stops.mode == "Full":
        for terms in wanted:
            set_full_stop(holding, terms, order.link_id)
        return
    placed = [each for each in holding.position_stops() if each.origin is stops and each.is_conditional]
    if placed:
        for each in placed:
            each.qty += opened
            publish_order(holding, each)
        return
    _place_partial(holding, wanted, opened, order.link_id, stops)


def place_partial_stops(holding: Holding, wanted: list[StopTerms], qty: Decimal) -> None:
    """Add a take profit and a stop loss of a part of the position. Raises Refusal if there are too many."""
    count = sum(each.tpsl_mode == "Partial" for each in holding.position_stops())
    if count + len(wanted) > holding.account.rules.max_partial_stops:
        raise Refusal(110060)
    holding.position.tpsl_mode = "Partial"
    _place_partial(holding, wanted, qty, "", None)


def _place_partial(
    holding: Holding, wanted: list[StopTerms], qty: Decimal, parent: str, origin: AttachedStops | None
) -> None:
    placed = [place_stop(holding, terms, qty, parent) for terms in wanted]
    for order in placed:
        order.origin = origin
    if len(placed) == len(PARTIAL_STOPS):
        placed[0].pair, placed[1].pair = placed[1], placed[0]


def _terms(stops: AttachedStops) -> list[StopTerms]:
    part = "Partial" if stops.mode == "Partial" else ""
    wanted = []
    if stops.take_profit is not None:
        wanted.append(StopTerms(f"{part}TakeProfit", stops.take_profit, stops.tp_trigger_by, stops.tp_limit_price))
    if stops.stop_loss is not None:
        wanted.append(StopTerms(f"{part}StopLoss", stops.stop_loss, stops.sl_trigger_by, stops.sl_limit_price))
    return wanted


def resize_stops(holding: Holding) -> None:
    """Make the stops of the whole position as large as the position."""
    size = holding.position.size
    for order in holding.position_stops():
        if order.tpsl_mode == "Full" and order.is_conditional and order.qty != size:
            order.qty = size
            publish_order(holding, order)


def clear_stops(holding: Holding) -> None:
    """Cancel the stops of a position that has been closed."""
    for order in holding.position_stops():
        if order.is_conditional:
            end_order(holding, order, "CancelByTpSlTsClear")
    holding.position.tpsl_mode = "Full"
