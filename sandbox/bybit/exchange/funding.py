"""Funding between longs and shorts."""

from decimal import Decimal

from sandbox.bybit.exchange.accounts import Holding
from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.publication import publish_position, publish_wallet
from sandbox.bybit.exchange.rows import ExecutionRow, TransactionRow


def settle_funding(holding: Holding, rate: Decimal) -> None:
    """Pay or receive value × rate for an open position: longs pay if the rate is above 0."""
    account, position, journal = holding.account, holding.position, holding.journal
    side, mark = position.side, holding.market.mark
    if side is None:
        return
    payment = position.net * mark * rate
    account.change_wallet(-payment)
    position.realise(-payment)
    position.updated_ms = journal.at_ms
    execution = ExecutionRow(
        symbol=holding.symbol,
        exec_id=journal.next_id(),
        exec_type="Funding",
        order_id=journal.next_id(),
        order_link_id="",
        parent_order_link_id="",
        side=side,
        order_type="UNKNOWN",
        stop_order_type="UNKNOWN",
        create_type="",
        order_price=ZERO,
        order_qty=ZERO,
        leaves_qty=ZERO,
        exec_price=mark,
        exec_qty=position.size,
        exec_value=position.size * mark,
        exec_fee=payment,
        fee_rate=rate,
        fee_currency="USDT",
        exec_pnl=ZERO,
        closed_size=ZERO,
        is_maker=False,
        mark_price=mark,
        exec_ms=journal.at_ms,
        seq=journal.next_seq(),
    )
    account.executions.append(execution)
    journal.publish(account.uid, "execution", execution)
    account.transactions.append(
        TransactionRow(
            transaction_id=journal.next_id(),
            type="SETTLEMENT",
            symbol=holding.symbol,
            side=side,
            order_id=execution.order_id,
            order_link_id="",
            trade_id=execution.exec_id,
            qty=position.size,
            size=position.net,
            trade_price=mark,
            cash_flow=ZERO,
            funding=-payment,
            fee=ZERO,
            fee_rate=rate,
            change=-payment,
            cash_balance=account.wallet,
            currency="USDT",
            at_ms=journal.at_ms,
        )
    )
    publish_position(holding)
    publish_wallet(account)
