"""Bybit's V5 messages of positions, wallet and bookings, from the engine's rows; shaped as its examples."""

from collections.abc import Sequence
from decimal import Decimal
from uuid import NAMESPACE_OID, uuid5

from sandbox.bybit.exchange.rows import ClosedPnlRow, PositionRow, TransactionRow, WalletRow
from sandbox.bybit.messages import Json

CATEGORY = "linear"


def text(number: Decimal | None) -> str:
    """Return a number as Bybit writes it: plain, without trailing zeros; empty if there is none."""
    if number is None:
        return ""
    if number == 0:
        return "0"
    plain = format(number, "f")
    return plain.rstrip("0").rstrip(".") if "." in plain else plain


def _position(row: PositionRow) -> Json:
    """Return what position/list and the stream have in common."""
    return {
        "positionIdx": 0,
        "riskId": 1,
        "riskLimitValue": text(row.risk_limit_value),
        "symbol": row.symbol,
        "side": row.side,
        "size": text(row.size),
        "positionValue": text(row.position_value),
        "tradeMode": row.trade_mode,
        "positionStatus": row.position_status,
        "autoAddMargin": 0,
        "adlRankIndicator": 2 if row.size else 0,
        "leverage": text(row.leverage),
        "breakEvenPrice": text(row.break_even_price),
        "positionBalance": text(row.position_balance),
        "markPrice": text(row.mark_price),
        "liqPrice": text(row.liq_price),
        "bustPrice": text(row.bust_price),
        "positionMM": text(row.position_mm),
        "positionMMByMp": text(row.position_mm),
        "positionIM": text(row.position_im),
        "positionIMByMp": text(row.position_im),
        "tpslMode": row.tpsl_mode,
        "takeProfit": _stop(row.take_profit),
        "stopLoss": _stop(row.stop_loss),
        "trailingStop": _stop(row.trailing_stop),
        "unrealisedPnl": text(row.unrealised_pnl),
        "curRealisedPnl": text(row.cur_realised_pnl),
        "cumRealisedPnl": text(row.cum_realised_pnl),
        "seq": row.seq,
        "isReduceOnly": False,
        "leverageSysUpdatedTime": "",
        "sessionAvgPrice": "",
        "createdTime": str(row.created_ms),
        "updatedTime": str(row.updated_ms),
    }


def position(row: PositionRow) -> Json:
    """Return a position as position/list has it."""
    return {**_position(row), "avgPrice": text(row.entry_price), "mmrSysUpdateTime": ""}


def position_push(row: PositionRow) -> Json:
    """Return a position as the stream has it."""
    return {**_position(row), "entryPrice": text(row.entry_price), "mmrSysUpdatedTime": "", "category": CATEGORY}


def _stop(price: Decimal) -> str:
    return text(price) if price else ""


def wallet(row: WalletRow) -> Json:
    """Return the account as wallet-balance and the stream have it."""
    initial, maintenance = row.order_im + row.position_im, row.position_mm
    initial_rate, maintenance_rate = (text(_rate(each, row.equity)) for each in (initial, maintenance))
    return {
        "totalEquity": text(row.equity),
        "accountIMRate": initial_rate,
        "accountIMRateByMp": initial_rate,
        "totalMarginBalance": text(row.equity),
        "totalInitialMargin": text(initial),
        "totalInitialMarginByMp": text(initial),
        "accountType": "UNIFIED",
        "totalAvailableBalance": text(row.available),
        "accountMMRate": maintenance_rate,
        "accountMMRateByMp": maintenance_rate,
        "totalPerpUPL": text(row.unrealised_pnl),
        "totalWalletBalance": text(row.wallet_balance),
        "accountLTV": "0",
        "totalMaintenanceMargin": text(maintenance),
        "totalMaintenanceMarginByMp": text(maintenance),
        "coin": [_coin(row)],
    }


def _coin(row: WalletRow) -> Json:
    return {
        "availableToBorrow": "",
        "bonus": "0",
        "accruedInterest": "0",
        "availableToWithdraw": text(row.available),
        "totalOrderIM": text(row.order_im),
        "equity": text(row.equity),
        "totalPositionMM": text(row.position_mm),
        "usdValue": text(row.equity),
        "spotHedgingQty": "0",
        "unrealisedPnl": text(row.unrealised_pnl),
        "collateralSwitch": True,
        "borrowAmount": "0",
        "totalPositionIM": text(row.position_im),
        "walletBalance": text(row.wallet_balance),
        "cumRealisedPnl": text(row.cum_realised_pnl),
        "locked": "0",
        "marginCollateral": True,
        "coin": row.coin,
        "spotBorrow": "0",
    }


def _rate(amount: Decimal, equity: Decimal) -> Decimal:
    return (amount / equity).quantize(Decimal("0.00000001")) if equity > 0 else Decimal(0)


def closed_pnl(row: ClosedPnlRow) -> Json:
    """Return a row of position/closed-pnl."""
    return {
        "symbol": row.symbol,
        "orderType": row.order_type,
        "leverage": text(row.leverage),
        "updatedTime": str(row.updated_ms),
        "side": row.side,
        "orderId": row.order_id,
        "closedPnl": text(row.closed_pnl),
        "avgEntryPrice": text(row.avg_entry_price),
        "qty": text(row.qty),
        "cumEntryValue": text(row.cum_entry_value),
        "createdTime": str(row.created_ms),
        "orderPrice": text(row.order_price),
        "closedSize": text(row.closed_size),
        "avgExitPrice": text(row.avg_exit_price),
        "execType": row.exec_type,
        "fillCount": str(row.fill_count),
        "cumExitValue": text(row.cum_exit_value),
        "openFee": text(row.open_fee),
        "closeFee": text(row.close_fee),
    }


def transaction(row: TransactionRow) -> Json:
    """Return a row of account/transaction-log."""
    return {
        "transSubType": "",
        "id": row.transaction_id,
        "symbol": row.symbol,
        "side": row.side,
        "funding": text(row.funding),
        "orderLinkId": row.order_link_id,
        "orderId": row.order_id,
        "fee": text(row.fee),
        "change": text(row.change),
        "cashFlow": text(row.cash_flow),
        "transactionTime": str(row.at_ms),
        "type": row.type,
        "feeRate": text(row.fee_rate),
        "bonusChange": "",
        "size": text(row.size),
        "qty": text(row.qty),
        "cashBalance": text(row.cash_balance),
        "currency": row.currency,
        "category": CATEGORY,
        "tradePrice": text(row.trade_price),
        "tradeId": row.trade_id,
        "extraFees": "",
    }


def push(topic: str, uid: str, seq: int, now_ms: int, data: Sequence[Json]) -> Json:
    """Return a message of a private stream. Its id is the same whenever the same change is sent again."""
    message: Json = {"topic": topic, "creationTime": now_ms, "data": list(data)}
    if topic != "execution.fast":
        message["id"] = f"{uid}_{uuid5(NAMESPACE_OID, f'{uid} {topic} {seq}')}"
    return message
