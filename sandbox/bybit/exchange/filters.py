"""The checks of an order's values: lot and price filters, the price band, the side of stops and triggers."""

from decimal import Decimal

from sandbox.bybit.exchange.accounts import Account
from sandbox.bybit.exchange.amounts import ZERO, is_multiple
from sandbox.bybit.exchange.markets import Market
from sandbox.bybit.exchange.orders import RISING
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import Side
from sandbox.bybit.exchange.terms import InstrumentFilters


def check_quantity(filters: InstrumentFilters, qty: Decimal, *, is_market: bool, time_in_force: str) -> None:
    largest = filters.max_market_order_qty if is_market else filters.max_order_qty
    if time_in_force == "PostOnly":
        largest = filters.post_only_max_order_qty
    if qty < filters.min_order_qty:
        raise Refusal(10001, "The number of contracts exceeds minimum limit allowed")
    if qty > largest:
        raise Refusal(10001, f"The number of contracts exceeds maximum limit allowed: too large, {largest}")
    if not is_multiple(qty, filters.qty_step):
        raise Refusal(10001, "params error: Qty invalid")


def check_price(filters: InstrumentFilters, name: str, price: Decimal | None) -> None:
    """Check a price of an order; None is no price."""
    if price is None:
        return
    if not filters.min_price <= price <= filters.max_price:
        raise Refusal(110003)
    if not is_multiple(price, filters.tick_size):
        raise Refusal(10001, f"params error: {name} invalid")


def check_notional(filters: InstrumentFilters, value: Decimal) -> None:
    if value < filters.min_notional:
        raise Refusal(110094, f"Order does not meet minimum order value {filters.min_notional}USDT")


def within_band(account: Account, market: Market, side: Side, price: Decimal) -> Decimal:
    """Return the limit price, moved to the edge of the price band where the account has not chosen otherwise."""
    if not account.rules.has_price_band:
        return price
    highest, lowest = market.price_limits()
    if side == "Buy" and price > highest:
        edge, code = highest, 110120
    elif side == "Sell" and price < lowest:
        edge, code = lowest, 110121
    else:
        return price
    if account.lpa_perp:
        raise Refusal(code)
    return edge


def check_trigger(market: Market, trigger: Decimal, direction: int, trigger_by: str) -> None:
    current = market.price if trigger_by == "LastPrice" else market.mark
    if direction == RISING and trigger <= current:
        raise Refusal(110092, f"expect Rising, but trigger_price[{trigger}] <= current[{current}]??{trigger_by}")
    if direction != RISING and trigger >= current:
        raise Refusal(110093, f"expect Falling, but trigger_price[{trigger}] >= current[{current}]??{trigger_by}")


def check_stops(is_long: bool, current: Decimal, take_profit: Decimal | None, stop_loss: Decimal | None) -> None:
    """Refuse a take profit or stop loss that the price has passed."""
    position = "Buy" if is_long else "Sell"
    for name, price, is_above in (("TakeProfit", take_profit, is_long), ("StopLoss", stop_loss, not is_long)):
        if price is None or (price > current if is_above else ZERO < price < current):
            continue
        place = "higher" if is_above else "lower"
        raise Refusal(
            10001, f"{name}:{price} set for {position} position should be {place} than base_price:{current}"
        )
