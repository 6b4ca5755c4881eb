"""Closings that the exchange forces: liquidation and auto-deleveraging; and funding."""

from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.booking import book_fill
from sandbox.bybit.exchange.margin import closing_side
from sandbox.bybit.exchange.orders import Order
from sandbox.bybit.exchange.publication import end_order


def liquidate(holding: Holding) -> None:
    """Cancel the account's orders, and take the position over at its bankruptcy price."""
    account = holding.account
    for each in [holding] if account.is_isolated else list(account.holdings.values()):
        for order in list(each.open.values()):
            end_order(each, order, "CancelAllBeforeLiq")
    price = margin.bankruptcy_price(holding) or holding.market.filters.tick_size
    force_close(holding, holding.position.size, price, "CreateByTakeOver_PassThrough", "BustTrade")


def liquidate_account(account: Account) -> None:
    """Liquidate positions until the maintenance margin is met, the largest loss first."""
    for holding in sorted(account.holdings.values(), key=margin.unrealised):
        if holding.position.net and margin.is_below_maintenance(holding, holding.market.mark):
            liquidate(holding)


def force_close(
    holding: Holding, quantity: Decimal, price: Decimal, create_type: str, exec_type: str, *, is_free: bool = False
) -> None:
    """Close a part of a position by an order of the exchange's own."""
    journal = holding.journal
    order = Order(
        symbol=holding.symbol,
        order_id=journal.next_id(),
        link_id="",
        side=closing_side(holding),
        is_market=True,
        price=price,
        qty=quantity,
        time_in_force="IOC",
        created_ms=journal.at_ms,
        reduce_only=True,
        close_on_trigger=True,
        create_type=create_type,
        last_price=holding.market.last,
    )
    holding.add(order)
    book_fill(holding, order, quantity, price, exec_type=exec_type, is_free=is_free)


def deleverage(holding: Holding, quantity: Decimal, price: Decimal) -> None:
    """Raises ValueError if the position is smaller."""
    if not ZERO < quantity <= holding.position.size:
        raise ValueError(f"the position is {holding.position.size}, and {quantity} of it cannot be closed")
    force_close(holding, quantity, price, "CreateByAdl_PassThrough", "AdlTrade", is_free=True)
