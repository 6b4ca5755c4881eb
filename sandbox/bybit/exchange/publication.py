"""Builds the rows of what has changed, and publishes them."""

from decimal import Decimal

from sandbox.bybit.exchange import margin
from sandbox.bybit.exchange.accounts import Account, Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.orders import CANCELLED, DEACTIVATED, Order
from sandbox.bybit.exchange.rows import OrderRow, PositionRow, WalletRow


def publish_order(holding: Holding, order: Order) -> OrderRow:
    """Publish the order as it is now; one that has closed joins the history."""
    journal = holding.journal
    order.updated_ms = journal.at_ms
    row = order.to_row(journal.next_seq())
    journal.publish(holding.account.uid, "order", row)
    if not order.is_open:
        holding.drop(order)
        holding.account.closed_orders.append(row)
    return row


def end_order(
    holding: Holding, order: Order, cancel_type: str = "UNKNOWN", reject_reason: str = "EC_NoError"
) -> OrderRow:
    """Cancel what is left of an order."""
    order.status = DEACTIVATED if order.is_conditional else CANCELLED
    order.is_waiting = False
    order.cancel_type, order.reject_reason = cancel_type, reject_reason
    return publish_order(holding, order)


def publish_position(holding: Holding) -> None:
    row = position_row(holding, holding.journal.next_seq())
    holding.journal.publish(holding.account.uid, "position", row)


def publish_wallet(account: Account) -> None:
    account.journal.publish(account.uid, "wallet", wallet_row(account))


def position_row(holding: Holding, seq: int) -> PositionRow:
    position, market, account = holding.position, holding.market, holding.account
    trailing = holding.find_stop("TrailingStop")
    trail = trailing.trail if trailing else None
    mark = market.last if market.fixed_mark is None else market.fixed_mark
    held = margin.initial_margin(holding) if position.net else ZERO
    return PositionRow(
        symbol=holding.symbol,
        side=position.side or "",
        size=position.size,
        entry_price=position.entry_price,
        leverage=holding.leverage,
        position_value=position.entry_value,
        mark_price=ZERO if mark is None else mark,
        liq_price=margin.liquidation_price(holding),
        bust_price=margin.bankruptcy_price(holding),
        break_even_price=margin.break_even_price(holding),
        position_im=held,
        position_mm=margin.maintenance_margin(holding),
        position_balance=held,
        unrealised_pnl=margin.unrealised(holding),
        cur_realised_pnl=position.cur_realised,
        cum_realised_pnl=position.cum_realised,
        tpsl_mode=position.tpsl_mode,
        take_profit=_stop_price(holding, "TakeProfit"),
        stop_loss=_stop_price(holding, "StopLoss"),
        trailing_stop=trail.distance if trail else ZERO,
        active_price=(trail.active_price or ZERO) if trail else ZERO,
        trade_mode=int(account.is_isolated),
        position_status=position.status,
        risk_limit_value=market.filters.risk_limit_value,
        created_ms=position.created_ms,
        updated_ms=position.updated_ms,
        seq=seq,
    )


def wallet_row(account: Account) -> WalletRow:
    holdings = account.holdings.values()
    return WalletRow(
        coin="USDT",
        wallet_balance=account.wallet,
        equity=margin.equity(account),
        unrealised_pnl=sum((margin.unrealised(each) for each in holdings), ZERO),
        available=margin.available(account),
        order_im=sum((margin.order_margin(each) for each in holdings), ZERO),
        position_im=sum((margin.initial_margin(each) for each in holdings if each.position.net), ZERO),
        position_mm=sum((margin.maintenance_margin(each) for each in holdings), ZERO),
        cum_realised_pnl=account.realised,
    )


def _stop_price(holding: Holding, stop_order_type: str) -> Decimal:
    order = holding.find_stop(stop_order_type)
    return order.trigger_price or ZERO if order else ZERO
