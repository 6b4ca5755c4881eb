"""Books executions: the order, the position, the wallet and every record of them."""

from decimal import Decimal

from sandbox.bybit.exchange.accounts import Holding
from sandbox.bybit.exchange.amounts import ZERO, quotient
from sandbox.bybit.exchange.orders import FILLED, PARTIALLY_FILLED, Order
from sandbox.bybit.exchange.positions import Closing
from sandbox.bybit.exchange.publication import end_order, publish_order, publish_position, publish_wallet
from sandbox.bybit.exchange.rows import ClosedPnlRow, ExecutionRow, TransactionRow
from sandbox.bybit.exchange.stops import attach_stops, clear_stops, resize_stops

TRANSACTION_TYPES = {"Trade": "TRADE", "BustTrade": "LIQUIDATION", "AdlTrade": "ADL"}


def book_fill(
    holding: Holding,
    order: Order,
    qty: Decimal,
    price: Decimal,
    *,
    is_maker: bool = False,
    exec_type: str = "Trade",
    is_free: bool = False,
) -> None:
    """Book one execution of an order, with the consequences for the position's stops and the reducing orders."""
    account, position, journal = holding.account, holding.position, holding.journal
    terms = account.terms
    rate = ZERO if is_free else terms.maker_fee if is_maker else terms.taker_fee
    fee = qty * price * rate
    charged = ZERO if terms.fmsef else fee  # what the wallet pays
    closing = position.fill(order.side, qty, price, charged, journal.at_ms)
    if terms.fmsef:
        fee, order.fee_currency = quotient(fee, terms.mnt_price), "MNT"
    order.filled += qty
    order.filled_value += qty * price
    order.fee += fee
    order.closed_pnl += closing.pnl - closing.open_fee - closing.close_fee
    order.status = FILLED if not order.leaves else PARTIALLY_FILLED
    if order.status == FILLED:
        order.is_waiting = False
    account.change_wallet(closing.pnl - charged)
    publish_order(holding, order)
    execution = _execution(holding, order, qty, price, fee, rate, closing, exec_type, is_maker)
    account.executions.append(execution)
    journal.publish(account.uid, "execution", execution)
    _record_transaction(holding, execution, charged)
    if closing.size:
        _record_closed_pnl(holding, order, closing, exec_type)
    _adjust_orders(holding, order, closing.size, qty - closing.size)
    publish_position(holding)
    publish_wallet(account)
    holding.forget_if_idle()


def _adjust_orders(holding: Holding, order: Order, closed: Decimal, opened: Decimal) -> None:
    """Cancel what belongs to a position that this fill has closed; keep stops as large as the position."""
    if closed and (opened or not holding.position.net):
        clear_stops(holding)
        for each in list(holding.open.values()):
            if each.only_reduces and not each.is_conditional and each is not order:
                end_order(holding, each, "CancelByReduceOnly")
    if opened:
        attach_stops(holding, order, opened)
    if holding.position.net:
        resize_stops(holding)


def _execution(
    holding: Holding,
    order: Order,
    qty: Decimal,
    price: Decimal,
    fee: Decimal,
    rate: Decimal,
    closing: Closing,
    exec_type: str,
    is_maker: bool,
) -> ExecutionRow:
    journal = holding.journal
    return ExecutionRow(
        symbol=holding.symbol,
        exec_id=journal.next_id(),
        exec_type=exec_type,
        order_id=order.order_id,
        order_link_id=order.link_id,
        parent_order_link_id=order.parent_link_id,
        side=order.side,
        order_type="Market" if order.is_market else "Limit",
        stop_order_type=order.stop_order_type,
        create_type=order.create_type,
        order_price=order.price,
        order_qty=order.qty,
        leaves_qty=order.leaves,
        exec_price=price,
        exec_qty=qty,
        exec_value=qty * price,
        exec_fee=fee,
        fee_rate=rate,
        fee_currency=order.fee_currency,
        exec_pnl=closing.pnl,
        closed_size=closing.size,
        is_maker=is_maker,
        mark_price=holding.market.mark,
        exec_ms=journal.at_ms,
        seq=journal.next_seq(),
    )


def _record_transaction(holding: Holding, execution: ExecutionRow, fee: Decimal) -> None:
    account = holding.account
    account.transactions.append(
        TransactionRow(
            transaction_id=holding.journal.next_id(),
            type=TRANSACTION_TYPES[execution.exec_type],
            symbol=holding.symbol,
            side=execution.side,
            order_id=execution.order_id,
            order_link_id=execution.order_link_id,
            trade_id=execution.exec_id,
            qty=execution.exec_qty,
            size=holding.position.net,
            trade_price=execution.exec_price,
            cash_flow=execution.exec_pnl,
            funding=None,
            fee=fee,
            fee_rate=execution.fee_rate,
            change=execution.exec_pnl - fee,
            cash_balance=account.wallet,
            currency="USDT",
            at_ms=execution.exec_ms,
        )
    )


def _record_closed_pnl(holding: Holding, order: Order, closing: Closing, exec_type: str) -> None:
    """Add what this fill closed to the record of its order."""
    records, at_ms = holding.account.closed_pnl, holding.journal.at_ms
    before = records.get(order.order_id)
    size, entry, exit_ = closing.size, closing.entry_value, closing.exit_value
    open_fee, close_fee, count, created_ms = closing.open_fee, closing.close_fee, 1, at_ms
    if before is not None:
        size, entry = size + before.closed_size, entry + before.cum_entry_value
        exit_ += before.cum_exit_value
        open_fee, close_fee = open_fee + before.open_fee, close_fee + before.close_fee
        count, created_ms = before.fill_count + 1, before.created_ms
    elif len(records) >= holding.account.rules.kept_rows:
        del records[next(iter(records))]
    records[order.order_id] = ClosedPnlRow(
        symbol=holding.symbol,
        order_id=order.order_id,
        side=order.side,
        order_type="Market" if order.is_market else "Limit",
        exec_type=exec_type,
        qty=order.qty,
        order_price=order.price,
        leverage=holding.leverage,
        closed_size=size,
        cum_entry_value=entry,
        cum_exit_value=exit_,
        avg_entry_price=quotient(entry, size),
        avg_exit_price=quotient(exit_, size),
        closed_pnl=order.closed_pnl,
        open_fee=open_fee,
        close_fee=close_fee,
        fill_count=count,
        created_ms=created_ms,
        updated_ms=at_ms,
    )
