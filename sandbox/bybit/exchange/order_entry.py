"""Order requests: create, amend and cancel. Everything is checked before anything changes."""

from dataclasses import replace
from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ZERO, ceil_to, floor_to
from sandbox.bybit.exchange.fields import Fields
from sandbox.bybit.exchange.filters import (
    check_notional,
    check_price,
    check_quantity,
    check_stops,
    check_trigger,
    within_band,
)
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.matching import execute
from sandbox.bybit.exchange.orders import CANCELLED, DEACTIVATED, NEW, UNTRIGGERED, Order
from sandbox.bybit.exchange.publication import end_order, publish_order, publish_position
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.requests import OrderRequest
from sandbox.bybit.exchange.rows import OrderRow
from sandbox.bybit.exchange.terms import HEDGE


def create_order(account: Account, market: Market, request: OrderRequest) -> Order:
    """Accept an order, then match it, unless it is conditional or the market is closed."""
    market.check_trading()
    holding = account.holding(market)
    check_mode(holding, request.position_idx)
    if request.link_id and request.link_id in account.by_link:
        raise Refusal(110072)
    order = _to_order(holding, _with_quantity(holding, request))
    _check_filters(holding, order, request)
    _check_counts(holding, order)
    if not order.only_reduces and not order.is_conditional:
        check_affordable(holding, order)
    holding.add(order)
    if order.is_conditional:
        publish_order(holding, order)
    elif market.is_closed and order.time_in_force in ("IOC", "FOK"):
        order.is_waiting = True
        market.waiting.append((holding, order))
        publish_order(holding, order)
    elif market.is_closed and order.time_in_force == "GTC":
        publish_order(holding, order)
    else:
        execute(holding, order, market.price)
    return order


def check_mode(holding: Holding, position_idx: int) -> None:
    if holding.mode == HEDGE or position_idx:
        raise Refusal(10001, "position idx not match position mode")


def _with_quantity(holding: Holding, request: OrderRequest) -> OrderRequest:
    """Limit what only reduces to the position. Raises Refusal if nothing is left of it."""
    if not request.reduce_only or request.trigger_price is not None:
        return request
    reducible = holding.position.reducible(request.side)
    if not reducible:
        words = "current position is zero, cannot fix reduce-only order qty"
        raise Refusal(110017, None if holding.position.net else words)
    return replace(request, qty=min(request.qty, reducible) or reducible)


def _to_order(holding: Holding, request: OrderRequest) -> Order:
    market, journal = holding.market, holding.journal
    price = request.price
    if price is None:
        highest, lowest = market.price_limits()
        price = highest if request.side == "Buy" else lowest
    elif request.trigger_price is None:
        check_price(market.filters, "price", price)
        price = within_band(holding.account, market, request.side, price)
    is_conditional = request.trigger_price is not None
    return Order(
        symbol=request.symbol,
        order_id=journal.next_id(),
        link_id=request.link_id,
        side=request.side,
        is_market=request.is_market,
        price=price,
        qty=request.qty,
        time_in_force=request.time_in_force,
        created_ms=journal.at_ms,
        status=UNTRIGGERED if is_conditional else NEW,
        reduce_only=request.reduce_only,
        close_on_trigger=request.close_on_trigger,
        create_type="CreateByStopOrder" if is_conditional else "CreateByUser",
        stop_order_type="Stop" if is_conditional else "",
        trigger_price=request.trigger_price,
        trigger_direction=request.trigger_direction,
        trigger_by=request.trigger_by if is_conditional else "",
        attached=request.stops,
        slippage_type=request.slippage_type,
        slippage=request.slippage,
        cap=_cap(market, request),
        last_price=market.last,
    )


def _cap(market: Market, request: OrderRequest) -> Decimal | None:
    """Return the worst price that the slippage tolerance allows."""
    if request.slippage is None:
        return None
    price, tick = market.price, market.filters.tick_size
    is_buy = request.side == "Buy"
    distance = request.slippage * (tick if request.slippage_type == "TickSize" else price.scaleb(-2))
    return floor_to(price + distance, tick) if is_buy else max(tick, ceil_to(price - distance, tick))


def _check_filters(holding: Holding, order: Order, request: OrderRequest) -> None:
    market = holding.market
    filters = market.filters
    if request.qty:  # 0 closes whatever there is
        check_quantity(filters, order.qty, is_market=order.is_market, time_in_force=order.time_in_force)
    check_price(filters, "price", request.price)
    check_price(filters, "triggerPrice", order.trigger_price)
    if order.trigger_price is not None:
        check_trigger(market, order.trigger_price, order.trigger_direction, order.trigger_by)
    base = order.trigger_price or (market.price if order.is_market else order.price)
    stops = order.attached
    if stops is not None:
        named = {"takeProfit": stops.take_profit, "stopLoss": stops.stop_loss}
        named |= {"tpLimitPrice": stops.tp_limit_price, "slLimitPrice": stops.sl_limit_price}
        for name, price in named.items():
            check_price(filters, name, price)
        check_stops(order.is_buy, base, stops.take_profit, stops.stop_loss)
    if not order.only_reduces:
        check_notional(filters, order.qty * base)


def _check_counts(holding: Holding, order: Order) -> None:
    rules = holding.account.rules
    conditional = sum(each.is_conditional and not each.is_position_stop for each in holding.open.values())
    active = sum(not each.is_conditional for each in holding.open.values())
    if order.is_conditional and conditional >= rules.max_conditional_orders:
        raise Refusal(110009)
    if not order.is_conditional and active >= rules.max_active_orders:
        raise Refusal(110020)


def check_affordable(holding: Holding, order: Order) -> None:
    """Refuse an order that would open more than the margin or the position limit allows."""
    account, market = holding.account, holding.market
    before, after = margin.opening_value(holding), margin.opening_value(holding, order)
    if after <= before:
        return
    held = margin.position_value(holding)
    if held + after > market.filters.risk_limit_value:
        raise Refusal(110090)
    if account.wallet <= ZERO:
        raise Refusal(110004)
    if margin.order_margin(holding, order) - margin.order_margin(holding) > margin.available(account):
        raise Refusal(110007)


def filter_of(order: Order) -> str:
    """Return the orderFilter of cancel-all and of the order lists that selects this order."""
    if order.is_position_stop:
        return "tpslOrder"
    return "StopOrder" if order.is_conditional else "Order"


def find_order(account: Account, fields: Fields) -> Order:
    """Return the order that the request names. Raises Refusal if it does not exist or is closed."""
    order_id, link_id = fields.text("orderId"), fields.text("orderLinkId")
    if not order_id and not link_id:
        raise Refusal(10001, "params error: orderId or orderLinkId is required")
    order = account.orders.get(order_id) if order_id else account.by_link.get(link_id)
    if order is None or order.symbol != fields.text("symbol", required=True):
        raise Refusal(110001)
    if not order.is_open:
        raise Refusal(110010 if order.status in (CANCELLED, DEACTIVATED) else 110008)
    return order


def cancel_order(holding: Holding, order: Order) -> OrderRow:
    """Cancel at the account's request; of a stop, publish the position without it too."""
    row = end_order(holding, order, "CancelByUser", "EC_PerCancelRequest")
    if order.is_position_stop:
        publish_position(holding)
    return row


def amend_order(account: Account, market: Market, fields: Fields) -> Order:
    """Change quantity, price, trigger or stops of an open order; one that then crosses the market fills."""
    order = find_order(account, fields)
    market.check_trading()
    holding = account.holding(market)
    changed = _amended(holding, order, fields)
    if changed == order:
        raise Refusal(10001, "The order remains unchanged as the parameters entered match the existing ones.")
    if not order.only_reduces and not order.is_conditional:
        del holding.open[order.order_id]
        try:
            check_affordable(holding, changed)
        finally:
            holding.open[order.order_id] = order
    order.qty, order.price, order.trigger_price = changed.qty, changed.price, changed.trigger_price
    order.trigger_by, order.attached = changed.trigger_by, changed.attached
    publish_order(holding, order)
    if order.is_position_stop:
        publish_position(holding)
    crosses = order.price >= market.price if order.is_buy else order.price <= market.price
    if not order.is_conditional and not order.is_waiting and not market.is_closed and crosses:
        execute(holding, order, market.price)
    return order


def _amended(holding: Holding, order: Order, fields: Fields) -> Order:
    market = holding.market
    qty, price, trigger = fields.amount("qty"), fields.amount("price"), fields.amount("triggerPrice")
    changed = replace(order)
    if qty is not None and qty != order.qty:
        check_quantity(market.filters, qty, is_market=order.is_market, time_in_force=order.time_in_force)
        if qty <= order.filled:
            raise Refusal(110063)
        changed.qty = qty
    if price is not None and not order.is_market:
        check_price(market.filters, "price", price)
        is_free = order.is_conditional
        changed.price = price if is_free else within_band(holding.account, market, order.side, price)
    if trigger is not None and order.is_conditional:
        check_price(market.filters, "triggerPrice", trigger)
        changed.trigger_by = fields.choice(
            "triggerBy", "LastPrice", "MarkPrice", "IndexPrice", default=order.trigger_by
        )
        check_trigger(market, trigger, order.trigger_direction, changed.trigger_by)
        changed.trigger_price = trigger
    stops = order.attached
    if fields.has("takeProfit") or fields.has("stopLoss"):
        if stops is None or order.filled:
            raise Refusal(10001, "params error: the order has no TP/SL that can be changed")
        profit, loss = fields.amount("takeProfit"), fields.amount("stopLoss")
        stops = replace(
            stops,
            take_profit=stops.take_profit if profit is None else profit or None,
            stop_loss=stops.stop_loss if loss is None else loss or None,
        )
        check_stops(order.is_buy, changed.trigger_price or changed.price, stops.take_profit, stops.stop_loss)
        changed.attached = stops
    return changed
