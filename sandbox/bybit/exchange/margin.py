"""Margin: what positions and orders hold, what is available, and the prices at which a position is liquidated.

A position holds its value ÷ leverage and the fee of closing it; an order that would open holds that and its own
fee. In cross margin (regular and portfolio) the whole account stands for all positions; in isolated margin each
position has its own.
"""

from decimal import Decimal

from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ONE, TWO, ZERO, ceil_to, floor_to, quotient
from sandbox.bybit.exchange.orders import Order, opposite
from sandbox.bybit.exchange.rows import Side

SIDES: tuple[Side, Side] = ("Buy", "Sell")


def unrealised(holding: Holding) -> Decimal:
    return holding.position.unrealised(holding.market.mark) if holding.position.net else ZERO


def position_value(holding: Holding) -> Decimal:
    return holding.position.size * holding.market.mark if holding.position.net else ZERO


def initial_margin(holding: Holding, leverage: Decimal | None = None) -> Decimal:
    """Return what the position holds, at the leverage that is set or at this one."""
    value = position_value(holding)
    return quotient(value, leverage or holding.leverage) + value * holding.account.terms.taker_fee


def maintenance_margin(holding: Holding) -> Decimal:
    return position_value(holding) * holding.market.filters.maintenance_margin_rate


def opening_value(holding: Holding, extra: Order | None = None) -> Decimal:
    """Return the value of what the open orders, and `extra`, would open beyond closing the position."""
    orders = [*holding.open.values(), *([] if extra is None else [extra])]
    total = ZERO
    for side in SIDES:
        offset = holding.position.reducible(side)
        for order in orders:
            if order.side != side or order.only_reduces or order.is_conditional:
                continue
            closes = min(order.leaves, offset)
            offset -= closes
            price = order.last_price if order.is_market and order.last_price else order.price
            total += (order.leaves - closes) * price
    return total


def order_margin(holding: Holding, extra: Order | None = None, leverage: Decimal | None = None) -> Decimal:
    """Return what the open orders hold, with `extra` among them."""
    value = opening_value(holding, extra)
    return quotient(value, leverage or holding.leverage) + TWO * value * holding.account.terms.taker_fee


def equity(account: Account) -> Decimal:
    return account.wallet + sum((unrealised(each) for each in account.holdings.values()), ZERO)


def available(account: Account) -> Decimal:
    """Return what new orders may hold; at least 0."""
    held = sum((initial_margin(each) + order_margin(each) for each in account.holdings.values()), ZERO)
    balance = account.wallet if account.is_isolated else equity(account)
    return max(ZERO, balance - held)


def _backing(holding: Holding) -> Decimal:
    """Return what stands for the position beside its own unrealised gain."""
    account, position = holding.account, holding.position
    if account.is_isolated:
        return quotient(position.entry_value, holding.leverage)
    others = (each for each in account.holdings.values() if each is not holding)
    return account.wallet + sum((unrealised(each) - maintenance_margin(each) for each in others), ZERO)


def is_below_maintenance(holding: Holding, price: Decimal) -> bool:
    """Return whether the maintenance margin is not met with this market's mark price at `price`."""
    position = holding.position
    needed = position.size * price * holding.market.filters.maintenance_margin_rate
    return _backing(holding) + position.unrealised(price) < needed


def liquidation_price(holding: Holding) -> Decimal | None:
    """Return the mark price at which the position is liquidated; None if no price above 0 does it."""
    return _price_at(holding, _backing(holding), holding.market.filters.maintenance_margin_rate)


def bankruptcy_price(holding: Holding) -> Decimal | None:
    """Return the price at which closing the position, with the fee, leaves nothing of what stands for it."""
    others = (each for each in holding.account.holdings.values() if each is not holding)
    backing = _backing(holding)
    if not holding.account.is_isolated:
        backing += sum((maintenance_margin(each) for each in others), ZERO)
    return _price_at(holding, backing, holding.account.terms.taker_fee)


def _price_at(holding: Holding, backing: Decimal, rate: Decimal) -> Decimal | None:
    """Return where backing + unrealised = rate × value, rounded to the tick in favour of the account."""
    position, tick = holding.position, holding.market.filters.tick_size
    if not position.net:
        return None
    if position.is_long:
        price = ceil_to(quotient(position.entry_value - backing, position.size * (ONE - rate)), tick)
    else:
        price = floor_to(quotient(position.entry_value + backing, position.size * (ONE + rate)), tick)
    return price if price > ZERO else None


def break_even_price(holding: Holding) -> Decimal | None:
    """Return the price at which closing covers the fees of opening and closing."""
    position, fee = holding.position, holding.account.terms.taker_fee
    if not position.net:
        return None
    if position.is_long:
        return quotient(position.entry_value + position.open_fees, position.size * (ONE - fee))
    return quotient(position.entry_value - position.open_fees, position.size * (ONE + fee))


def closing_side(holding: Holding) -> Side:
    """Return the side of the orders that close the position. There must be one."""
    side = holding.position.side
    assert side is not None, "the position is open"
    return opposite(side)
