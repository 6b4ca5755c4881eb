"""Rows of the exchange's answers and streams as the types of venue.py. Anything unexpected is one of UNREADABLE."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from pydantic import TypeAdapter

from services.trading.exchange.outcomes import words_of
from services.trading.exchange.refusals import explain_reason
from services.trading.exchange.venue import (
    ExecutionKind,
    OrderOrigin,
    OrderSide,
    OrderStatus,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueWallet,
)
from shared.contracts.types import EPOCH, Amount, from_ms
from shared.strategy.bars import Side

CATEGORY = "linear"
SETTLE_COIN = "USDT"
ONE_WAY = 0
IN_USE = ("totalOrderIM", "totalPositionIM", "locked")
LATEST_MS = 4_102_444_800_000  # 2100
NEVER = ("0", "")  # the time of a position that was never opened

Row = Mapping[str, object]
_AMOUNT: TypeAdapter[Decimal] = TypeAdapter(Amount)

_SIDES: Mapping[str, OrderSide] = {"Buy": "BUY", "Sell": "SELL"}
_POSITION_SIDES: Mapping[str, Side | None] = {"Buy": "LONG", "Sell": "SHORT", "": None, "None": None}
_STATUSES = {
    "New": OrderStatus.NEW,
    "PartiallyFilled": OrderStatus.PARTIALLY_FILLED,
    "Untriggered": OrderStatus.UNTRIGGERED,
    "Triggered": OrderStatus.TRIGGERED,
    "Filled": OrderStatus.FILLED,
    "PartiallyFilledCanceled": OrderStatus.CANCELLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Rejected": OrderStatus.REJECTED,
    "Deactivated": OrderStatus.DEACTIVATED,
}
_ORIGINS = {
    "StopLoss": OrderOrigin.STOP_LOSS,
    "PartialStopLoss": OrderOrigin.STOP_LOSS,
    "TakeProfit": OrderOrigin.TAKE_PROFIT,
    "PartialTakeProfit": OrderOrigin.TAKE_PROFIT,
    "TrailingStop": OrderOrigin.TRAILING_STOP,
    "TrailingProfit": OrderOrigin.TRAILING_STOP,
}
_BY_REQUEST = frozenset({"", "CreateByUser", "CreateByStopOrder"})
_NO_STOP_TYPE = frozenset({"", "UNKNOWN", "Stop"})
_KINDS = {
    "Trade": ExecutionKind.TRADE,
    "Funding": ExecutionKind.FUNDING,
    "BustTrade": ExecutionKind.LIQUIDATION,
    "AdlTrade": ExecutionKind.ADL,
}
_FORCED = {  # trades that the exchange made itself
    "CreateByLiq": ExecutionKind.LIQUIDATION,
    "CreateByTakeOver_PassThrough": ExecutionKind.LIQUIDATION,
    "CreateByAdl_PassThrough": ExecutionKind.ADL,
}
_NO_REASON = frozenset({"", "UNKNOWN", "EC_NoError", "EC_PerCancelRequest"})


def order_of(row: Row) -> VenueOrder:
    return VenueOrder(
        order_id=_text(row, "orderId"),
        link_id=_optional_text(row, "orderLinkId"),
        parent_link_id=_optional_text(row, "parentOrderLinkId"),
        symbol=_text(row, "symbol"),
        side=_SIDES[_text(row, "side")],
        status=_STATUSES[_text(row, "orderStatus")],
        origin=_origin(row),
        quantity=amount_of(row, "qty"),
        filled=_amount_or_zero(row, "cumExecQty"),
        average_price=_price_or_none(row, "avgPrice"),
        trigger_price=_price_or_none(row, "triggerPrice"),
        reduce_only=_flag(row, "reduceOnly"),
        reason=_reason(row),
        created_at=time_of(row, "createdTime"),
        updated_at=time_of(row, "updatedTime"),
    )


def execution_of(row: Row) -> VenueExecution:
    kind = _kind(row)
    is_fill = kind in (ExecutionKind.TRADE, ExecutionKind.LIQUIDATION, ExecutionKind.ADL)
    return VenueExecution(
        execution_id=_text(row, "execId"),
        order_id=_text(row, "orderId"),
        link_id=_optional_text(row, "orderLinkId"),
        parent_link_id=_optional_text(row, "parentOrderLinkId"),
        symbol=_text(row, "symbol"),
        side=_SIDES[_text(row, "side")],
        kind=kind,
        origin=_origin(row),
        quantity=_positive(row, "execQty") if is_fill else _amount_or_zero(row, "execQty"),
        price=_positive(row, "execPrice") if is_fill else _amount_or_zero(row, "execPrice"),
        fee=amount_of(row, "execFee"),
        fee_coin=_optional_text(row, "feeCurrency") or SETTLE_COIN,  # linear: left out if it is the settle coin
        closed_quantity=_amount_or_zero(row, "closedSize"),
        time=time_of(row, "execTime"),
    )


def position_of(row: Row) -> VenuePosition:
    """The REST rows call the entry price `avgPrice`, those of the stream `entryPrice`."""
    if row["positionIdx"] != ONE_WAY:
        raise ValueError(f"{_text(row, 'symbol')} is in hedge mode")
    side, quantity = _POSITION_SIDES[_text(row, "side")], amount_of(row, "size")
    if (side is None) != (quantity == 0) or quantity < 0:
        raise ValueError("a position has a side and a quantity above 0, or neither")
    return VenuePosition(
        symbol=_text(row, "symbol"),
        side=side,
        quantity=quantity,
        entry_price=_price_or_none(row, "avgPrice" if "avgPrice" in row else "entryPrice"),
        leverage=amount_of(row, "leverage"),
        stop_loss=_price_or_none(row, "stopLoss"),
        updated_at=EPOCH if row["updatedTime"] in NEVER else time_of(row, "updatedTime"),
    )


def wallet_of(row: Row) -> VenueWallet:
    """Read the settle coin; a coin that is not listed has no balance. What is available is the account's in USD,
    and in isolated margin, where the exchange does not state it, the balance without the margin in use."""
    if _text(row, "accountType") != "UNIFIED":
        raise ValueError("not a unified account")
    coins = [coin for coin in rows_of(row, "coin") if coin["coin"] == SETTLE_COIN]
    if not coins:
        return VenueWallet(Decimal(0), Decimal(0), _amount_or_zero(row, "totalAvailableBalance"))
    (coin,) = coins
    balance = amount_of(coin, "walletBalance")
    in_use = sum((_amount_or_zero(coin, name) for name in IN_USE), Decimal(0))
    available = amount_of(row, "totalAvailableBalance") if row["totalAvailableBalance"] else balance - in_use
    return VenueWallet(balance, amount_of(coin, "equity"), available)


def order_of_executions(executions: Sequence[VenueExecution], ordered: Decimal) -> VenueOrder:
    """Return the order of these executions, oldest first, as far as they show it. `ordered` is its quantity."""
    first, last = executions[0], executions[-1]
    filled = sum((each.quantity for each in executions), Decimal(0))
    value = sum((each.quantity * each.price for each in executions), Decimal(0))
    return VenueOrder(
        order_id=first.order_id,
        link_id=first.link_id,
        parent_link_id=first.parent_link_id,
        symbol=first.symbol,
        side=first.side,
        status=OrderStatus.FILLED if filled >= ordered else OrderStatus.PARTIALLY_FILLED,
        origin=first.origin,
        quantity=ordered,
        filled=filled,
        average_price=value / filled,
        trigger_price=None,
        reduce_only=False,
        reason=None,
        created_at=first.time,
        updated_at=last.time,
    )


def rows_of(result: Row, name: str = "list") -> list[Row]:
    rows = result[name]
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError(f"{name} is not a list of objects")
    return rows


def cursor_of(result: Row) -> str:
    """Return the cursor of the next page; empty: there is none."""
    return _optional_text(result, "nextPageCursor") or ""


def amount_of(row: Row, name: str) -> Decimal:
    return _AMOUNT.validate_python(row[name])


def time_of(row: Row, name: str) -> datetime:
    milliseconds = int(_text(row, name))
    if not 0 < milliseconds < LATEST_MS:
        raise ValueError(f"{name}: {milliseconds} ms is not a time of trading")
    return from_ms(milliseconds)


def is_linear(row: Row) -> bool:
    """Return whether a row of a stream is of a linear contract: the streams bring all categories."""
    return row.get("category", CATEGORY) == CATEGORY


def symbols_of(rows: Iterable[Row]) -> tuple[str, ...]:
    return tuple(sorted({_text(row, "symbol") for row in rows}))


def _text(row: Row, name: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise TypeError(f"{name} is not a text")
    return value


def _optional_text(row: Row, name: str) -> str | None:
    return _text(row, name) or None if row.get(name) is not None else None


def _flag(row: Row, name: str) -> bool:
    value = row[name]
    if not isinstance(value, bool):
        raise TypeError(f"{name} is not true or false")
    return value


def _positive(row: Row, name: str) -> Decimal:
    value = amount_of(row, name)
    if value <= 0:
        raise ValueError(f"{name} is not above 0")
    return value


def _amount_or_zero(row: Row, name: str) -> Decimal:
    return amount_of(row, name) if row.get(name) else Decimal(0)


def _price_or_none(row: Row, name: str) -> Decimal | None:
    """The exchange writes no price as 0, 0.00 or an empty text."""
    return _amount_or_zero(row, name) or None


def _origin(row: Row) -> OrderOrigin:
    """A position's stop or target is named by the type of the order or by what created it, whichever is there."""
    stop_type, created_by = _optional_text(row, "stopOrderType") or "", _optional_text(row, "createType") or ""
    for name in (stop_type, created_by.removeprefix("CreateBy")):
        if name in _ORIGINS:
            return _ORIGINS[name]
    return OrderOrigin.REQUEST if stop_type in _NO_STOP_TYPE and created_by in _BY_REQUEST else OrderOrigin.OTHER


def _kind(row: Row) -> ExecutionKind:
    kind = _KINDS.get(_text(row, "execType"), ExecutionKind.OTHER)
    forced = _FORCED.get(_optional_text(row, "createType") or "")
    return forced if forced is not None and kind is ExecutionKind.TRADE else kind


def _reason(row: Row) -> str | None:
    for name in ("rejectReason", "cancelType"):
        reason = _optional_text(row, name) or ""
        if reason not in _NO_REASON:
            return explain_reason(words_of(reason))
    return None
