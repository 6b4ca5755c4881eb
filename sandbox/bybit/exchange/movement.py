"""Moves the price: what it reaches fills or is triggered, nearest first.

A price moves in one of two ways. It *jumps*, as at the open of a bar: all that it has passed fills at the new
price. Or it *sweeps* to another price: all that is on the way fills at its own price.
"""

from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.liquidation import liquidate
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.matching import execute, touch
from sandbox.bybit.exchange.orders import LOSS_STOPS, RISING, Order
from sandbox.bybit.exchange.stops import follow_price
from sandbox.bybit.exchange.terms import Bar


def open_bar(market: Market, price: Decimal) -> None:
    """Fill the waiting orders at the open, then what the open has passed of the orders that were there before."""
    before = price if market.last is None else market.last
    earlier = [(holding, set(holding.open)) for holding in market.active.values()]
    market.last, market.is_closed = price, False
    execute_waiting(market, price)
    for holding, order_ids in earlier:
        jump(holding, before, price, order_ids)


def execute_waiting(market: Market, price: Decimal) -> None:
    """Fill the orders that wait for a price, in the order in which they arrived."""
    waiting, market.waiting = market.waiting, []
    for holding, order in waiting:
        if order.is_open and order.is_waiting:
            execute(holding, order, price)


def trade_bar(market: Market, bar: Bar) -> None:
    """Move from the open to the close, for each holding by way of the extreme against its position first."""
    for holding in list(market.active.values()):
        down_first = holding.position.net >= ZERO
        turns = (bar.low, bar.high) if down_first else (bar.high, bar.low)
        market.last = start = bar.open
        jump(holding, start, start, None)
        for end in (*turns, bar.close):
            sweep(holding, start, end)
            start = end
    market.last = bar.close


def move(market: Market, price: Decimal) -> None:
    """Sweep from the last price to this one; then orders that waited fill at this one."""
    before = price if market.last is None else market.last
    market.is_closed = False
    for holding in list(market.active.values()):
        sweep(holding, before, price)
    market.last = price
    execute_waiting(market, price)


def check_mark(market: Market) -> None:
    """Trigger and liquidate what the mark price has passed."""
    if market.last is None:
        return
    for holding in list(market.active.values()):
        jump(holding, market.last, market.last, set() if market.is_closed else None)


def jump(holding: Holding, before: Decimal, price: Decimal, order_ids: set[str] | None) -> None:
    """Handle what the new price has passed, of these orders or of all: stops of the position first, then the
    others, nearest to the earlier price first."""
    done: set[str] = set()
    while True:
        reached = [
            order
            for order in holding.open.values()
            if order.order_id not in done
            and (order_ids is None or order.order_id in order_ids)
            and _is_reached(order, price, holding.market.fixed_mark)
        ]
        if not reached:
            break
        order = min(reached, key=lambda each: (each.stop_order_type not in LOSS_STOPS, abs(_level(each) - before)))
        done.add(order.order_id)
        touch(holding, order, price)
    follow_price(holding, price)
    if holding.position.net and margin.is_below_maintenance(holding, _mark(holding, price)):
        liquidate(holding)


def sweep(holding: Holding, start: Decimal, end: Decimal) -> None:
    """Handle what lies between two prices, in the order in which the price reaches it."""
    market, position = holding.market, holding.position
    is_rising = end > start
    done: set[str] = set()
    price = start
    while True:
        order = _next_on_the_way(holding, price, end, is_rising, done)
        target = end if order is None else _meeting_price(order, price, is_rising)
        is_adverse = position.net and position.is_long != is_rising
        if is_adverse and margin.is_below_maintenance(holding, _mark(holding, target)):
            market.last = target
            liquidate(holding)
            continue
        if order is None:
            break
        done.add(order.order_id)
        market.last = price = target
        touch(holding, order, price)
    follow_price(holding, end)


def _next_on_the_way(
    holding: Holding, price: Decimal, end: Decimal, is_rising: bool, done: set[str]
) -> Order | None:
    """Return the order that the price reaches first, a stop of the position before others at the same price."""
    mark = holding.market.fixed_mark
    found = [
        order
        for order in holding.open.values()
        if _is_upward(order) == is_rising and order.order_id not in done and _is_reached(order, end, mark)
    ]
    if not found:
        return None

    def nearness(order: Order) -> tuple[Decimal, bool]:
        meeting = _meeting_price(order, price, is_rising)
        return abs(meeting - price), order.stop_order_type not in LOSS_STOPS

    return min(found, key=nearness)


def _meeting_price(order: Order, price: Decimal, is_rising: bool) -> Decimal:
    return max(_level(order), price) if is_rising else min(_level(order), price)


def _mark(holding: Holding, price: Decimal) -> Decimal:
    fixed = holding.market.fixed_mark
    return price if fixed is None else fixed


def _is_upward(order: Order) -> bool:
    """Return whether a rising price reaches the order."""
    return order.trigger_direction == RISING if order.is_conditional else not order.is_buy


def _level(order: Order) -> Decimal:
    if order.is_conditional:
        assert order.trigger_price is not None, "a conditional order has a trigger"
        return order.trigger_price
    return order.price


def _is_reached(order: Order, price: Decimal, mark: Decimal | None) -> bool:
    """`mark`: the mark price if it is fixed; otherwise it follows the price."""
    if order.is_waiting or (order.trail is not None and order.trail.best is None):
        return False
    if order.is_conditional and order.trigger_by != "LastPrice":
        price = price if mark is None else mark
    return price >= _level(order) if _is_upward(order) else price <= _level(order)
