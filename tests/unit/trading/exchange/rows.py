"""Rows as the exchange answers them, with the fields that it documents."""

from tests.unit.trading.exchange.server import NOW_MS

Row = dict[str, object]


def order_row(**changes: object) -> Row:
    return {
        "orderId": "o-1",
        "orderLinkId": "tf-1",
        "parentOrderLinkId": "",
        "symbol": "BTCUSDT",
        "price": "0",
        "qty": "0.010",
        "side": "Buy",
        "positionIdx": 0,
        "orderStatus": "Filled",
        "createType": "CreateByUser",
        "cancelType": "UNKNOWN",
        "rejectReason": "EC_NoError",
        "avgPrice": "50000.10",
        "leavesQty": "0",
        "cumExecQty": "0.010",
        "stopOrderType": "",
        "triggerPrice": "0.00",
        "reduceOnly": False,
        "createdTime": str(NOW_MS),
        "updatedTime": str(NOW_MS + 5),
        **changes,
    }


def execution_row(number: int, time_ms: int = NOW_MS, **changes: object) -> Row:
    return {
        "symbol": "BTCUSDT",
        "orderId": "o-1",
        "orderLinkId": "tf-1",
        "side": "Buy",
        "orderQty": "0.010",
        "execId": f"e-{number}",
        "execPrice": "50000.10",
        "execQty": "0.004",
        "execType": "Trade",
        "execFee": "0.1100022",
        "feeCurrency": "",
        "createType": "CreateByUser",
        "stopOrderType": "UNKNOWN",
        "closedSize": "",
        "execTime": str(time_ms),
        **changes,
    }


def position_row(**changes: object) -> Row:
    return {
        "positionIdx": 0,
        "symbol": "BTCUSDT",
        "side": "Buy",
        "size": "0.010",
        "avgPrice": "50000.10",
        "leverage": "10",
        "takeProfit": "",
        "stopLoss": "49000.00",
        "updatedTime": "0",  # as of a contract that was never traded
        **changes,
    }


def wallet_row(**changes: object) -> Row:
    margin = {"totalOrderIM": "1", "totalPositionIM": "2"}
    coin = {"coin": "USDT", "walletBalance": "1000.5", "equity": "1010.5", **margin}
    return {
        "accountType": "UNIFIED",
        "totalAvailableBalance": "900.25",
        "coin": [{"coin": "BTC", "walletBalance": "1"}, coin],
        **changes,
    }


def listed(*rows: Row, cursor: str = "") -> Row:
    return {"category": "linear", "list": list(rows), "nextPageCursor": cursor}
