"""Bybit's V5 messages of orders and executions, from the engine's rows; shaped as its examples."""

from sandbox.bybit.account_messages import CATEGORY, text
from sandbox.bybit.exchange.rows import ExecutionRow, OrderRow
from sandbox.bybit.messages import Json


def order(row: OrderRow) -> Json:
    """Return an order as order/realtime and order/history have it."""
    has_stop = bool(row.stop_order_type)
    return {
        "orderId": row.order_id,
        "orderLinkId": row.order_link_id,
        "parentOrderLinkId": row.parent_order_link_id,
        "blockTradeId": "",
        "symbol": row.symbol,
        "price": text(row.price),
        "qty": text(row.qty),
        "side": row.side,
        "isLeverage": "",
        "positionIdx": 0,
        "orderStatus": row.order_status,
        "createType": row.create_type,
        "cancelType": row.cancel_type or "UNKNOWN",
        "rejectReason": row.reject_reason or "EC_NoError",
        "avgPrice": text(row.avg_price),
        "leavesQty": text(row.leaves_qty),
        "leavesValue": text(row.leaves_value),
        "cumExecQty": text(row.cum_exec_qty),
        "cumExecValue": text(row.cum_exec_value),
        "cumExecFee": text(row.cum_exec_fee),
        "timeInForce": row.time_in_force,
        "orderType": row.order_type,
        "stopOrderType": row.stop_order_type,
        "ocoTriggerBy": "",
        "orderIv": "",
        "marketUnit": "",
        "triggerPrice": text(row.trigger_price),
        "takeProfit": text(row.take_profit),
        "stopLoss": text(row.stop_loss),
        "tpTriggerBy": row.tp_trigger_by,
        "slTriggerBy": row.sl_trigger_by,
        "triggerDirection": row.trigger_direction,
        "triggerBy": row.trigger_by,
        "lastPriceOnCreated": text(row.last_price_on_created),
        "reduceOnly": row.reduce_only,
        "closeOnTrigger": row.close_on_trigger,
        "smpType": "None",
        "smpGroup": 0,
        "smpOrderId": "",
        "tpslMode": row.tpsl_mode if has_stop or row.take_profit or row.stop_loss else "",
        "tpLimitPrice": text(row.tp_limit_price),
        "slLimitPrice": text(row.sl_limit_price),
        "placeType": "",
        "slippageToleranceType": row.slippage_tolerance_type or "UNKNOWN",
        "slippageTolerance": text(row.slippage_tolerance),
        "createdTime": str(row.created_ms),
        "updatedTime": str(row.updated_ms),
        "extraFees": "",
        "cumFeeDetail": {row.fee_currency: text(row.cum_exec_fee)} if row.cum_exec_fee else {},
        "rpiTakerAccess": False,
        "rpiMatchedQty": "0",
    }


def order_push(row: OrderRow) -> Json:
    """Return an order as the stream has it."""
    return {
        **order(row),
        "category": CATEGORY,
        "closedPnl": text(row.closed_pnl),
        "feeCurrency": row.fee_currency,
    }


def execution(row: ExecutionRow) -> Json:
    """Return an execution as execution/list has it."""
    return {
        "symbol": row.symbol,
        "orderType": row.order_type,
        "underlyingPrice": "",
        "orderLinkId": row.order_link_id,
        "parentOrderLinkId": row.parent_order_link_id,
        "side": row.side,
        "indexPrice": "",
        "orderId": row.order_id,
        "stopOrderType": row.stop_order_type or "UNKNOWN",
        "leavesQty": text(row.leaves_qty),
        "execTime": str(row.exec_ms),
        "feeCurrency": row.fee_currency,
        "isMaker": row.is_maker,
        "execFee": text(row.exec_fee),
        "feeRate": text(row.fee_rate),
        "execId": row.exec_id,
        "tradeIv": "",
        "blockTradeId": "",
        "markPrice": text(row.mark_price),
        "execPrice": text(row.exec_price),
        "markIv": "",
        "orderQty": text(row.order_qty),
        "orderPrice": text(row.order_price),
        "execValue": text(row.exec_value),
        "execType": row.exec_type,
        "execQty": text(row.exec_qty),
        "closedSize": text(row.closed_size),
        "createType": row.create_type,
        "extraFees": "",
        "seq": row.seq,
    }


def execution_push(row: ExecutionRow) -> Json:
    """Return an execution as the stream has it."""
    return {
        **execution(row),
        "category": CATEGORY,
        "isLeverage": "0",
        "marketUnit": "",
        "execPnl": text(row.exec_pnl),
        "extraFees": [],
    }


def fast_execution_push(row: ExecutionRow) -> Json:
    """Return an execution as the topic execution.fast has it."""
    full = execution(row)
    names = (
        "symbol",
        "execId",
        "execPrice",
        "execQty",
        "orderId",
        "isMaker",
        "orderLinkId",
        "side",
        "execTime",
        "seq",
    )
    return {"category": CATEGORY, **{name: full[name] for name in names}}
