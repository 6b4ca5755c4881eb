"""Fills orders: at once against the market's price, or when the price reaches them."""

from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Holding
from sandbox.bybit.exchange.amounts import ONE, ZERO, round_to_tick
from sandbox.bybit.exchange.booking import book_fill
from sandbox.bybit.exchange.orders import NEW, REJECTED, TRIGGERED, Order
from sandbox.bybit.exchange.publication import end_order, publish_order


def execute(holding: Holding, order: Order, price: Decimal) -> None:
    """Fill an order that has arrived, as far as the market at `price` offers; then it rests or ends.

    Market orders pay the account's slippage. A limit order fills at the market's price, never worse than its limit.
    """
    if order.time_in_force == "PostOnly" and _crosses(order, price):
        end_order(holding, order, reject_reason="EC_PostOnlyWillTakeLiquidity")
        return
    offers = _offers(holding, order, price)
    if order.time_in_force == "FOK" and sum((quantity for _, quantity in offers), ZERO) < order.leaves:
        end_order(holding, order, reject_reason="EC_NoEnoughQtyToFill")
        return
    for level_price, quantity in offers:
        if not _fill(holding, order, quantity, level_price, is_maker=False):
            return
    if not order.is_open:
        return
    order.is_waiting = False
    if order.time_in_force in ("GTC", "PostOnly"):
        if not offers:
            order.status = NEW
            publish_order(holding, order)
        return
    beyond_cap = order.cap is not None and not offers
    end_order(holding, order, reject_reason="EC_ReachMarketPriceLimit" if beyond_cap else "EC_NoImmediateQtyToFill")


def touch(holding: Holding, order: Order, price: Decimal) -> None:
    """Handle an order that the price has reached: trigger a conditional one, fill a resting one as a maker."""
    if order.is_conditional:
        _trigger(holding, order, price)
        return
    for level in holding.market.levels:
        if level.ticks or not order.is_open:
            return
        quantity = order.leaves if level.quantity is None else min(level.quantity, order.leaves)
        if not _fill(holding, order, quantity, price, is_maker=True):
            return


def lose_cancellation(holding: Holding, order: Order) -> None:
    """Fill an order whose cancellation comes too late, and publish the failed cancellation as Bybit does."""
    price = holding.market.price if order.is_market else order.price
    if _fill(holding, order, order.leaves, price, is_maker=not order.is_market) and not order.is_open:
        order.cancel_type, order.reject_reason = "CancelByUser", "EC_OrigClOrdIDDoesNotExist"
        publish_order(holding, order)


def _fill(holding: Holding, order: Order, quantity: Decimal, price: Decimal, *, is_maker: bool) -> bool:
    """Book an execution; of an order that only reduces, at most the position. Return whether one was booked."""
    price = round_to_tick(price, holding.market.filters.tick_size)
    if order.only_reduces:
        quantity = min(quantity, holding.position.reducible(order.side))
    if not quantity:
        if order.is_open:
            end_order(holding, order, "CancelByReduceOnly")
        return False
    book_fill(holding, order, quantity, price, is_maker=is_maker)
    if order.is_open and order.only_reduces and not holding.position.reducible(order.side):
        end_order(holding, order, "CancelByReduceOnly")
        return False
    return True


def _trigger(holding: Holding, order: Order, price: Decimal) -> None:
    order.status = TRIGGERED
    publish_order(holding, order)
    pair = order.pair
    if pair is not None and pair.is_conditional:
        kind = (
            "CancelByOCOSlCanceledByTpTriggered"
            if "Profit" in order.stop_order_type
            else ("CancelByOCOTpCanceledBySlTriggered")
        )
        end_order(holding, pair, kind)
    if not order.qty:  # it closes whatever there is
        order.qty = holding.position.reducible(order.side)
    if not order.only_reduces:
        order.last_price = price
        if margin.available(holding.account) <= ZERO:
            order.status, order.reject_reason = REJECTED, "EC_Others"
            publish_order(holding, order)
            return
    order.status = NEW
    execute(holding, order, price)


def _crosses(order: Order, price: Decimal) -> bool:
    return price <= order.price if order.is_buy else price >= order.price


def _offers(holding: Holding, order: Order, price: Decimal) -> list[tuple[Decimal, Decimal]]:
    """Return the prices and quantities at which the order can fill now."""
    market, tick = holding.market, holding.market.filters.tick_size
    direction = ONE if order.is_buy else -ONE
    if order.is_market:
        worst = order.cap
        slippage = holding.account.terms.slippage
        price = round_to_tick(price * (ONE + direction * slippage), tick)
    else:
        worst = order.price
    offers, left = [], order.leaves
    for level in market.levels:
        level_price = max(tick, price + direction * level.ticks * tick)
        if not left or (worst is not None and order.is_worse(level_price, worst)):
            break
        quantity = left if level.quantity is None else min(level.quantity, left)
        offers.append((level_price, quantity))
        left -= quantity
    return offers
