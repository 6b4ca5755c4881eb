"""The body of an order request, read and checked as far as it can be without the account."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from sandbox.bybit.exchange.amounts import ZERO
from sandbox.bybit.exchange.fields import Body, Fields
from sandbox.bybit.exchange.orders import FALLING, RISING, AttachedStops
from sandbox.bybit.exchange.refusals import Refusal
from sandbox.bybit.exchange.rows import Side

TRIGGERS = ("LastPrice", "MarkPrice", "IndexPrice")
_LARGEST_TICKS, _SMALLEST_PERCENT, _LARGEST_PERCENT = Decimal(10_000), Decimal("0.01"), Decimal(10)


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """`price` is None for market orders; `qty` 0 closes the position."""

    symbol: str
    side: Side
    is_market: bool
    qty: Decimal
    price: Decimal | None
    time_in_force: str
    link_id: str
    position_idx: int
    reduce_only: bool
    close_on_trigger: bool
    trigger_price: Decimal | None
    trigger_direction: int
    trigger_by: str
    stops: AttachedStops | None
    slippage_type: str
    slippage: Decimal | None


def read_order(body: Body) -> OrderRequest:
    """Raises Refusal."""
    fields = Fields(body)
    is_market = fields.choice("orderType", "Market", "Limit", required=True) == "Market"
    time_in_force = fields.choice("timeInForce", "GTC", "IOC", "FOK", "PostOnly", default="GTC")
    if is_market and time_in_force == "PostOnly":
        raise Refusal(10001, "params error: timeInForce invalid")
    request = OrderRequest(
        symbol=fields.text("symbol", required=True),
        side=read_side(fields),
        is_market=is_market,
        qty=fields.needed_amount("qty"),
        price=None if is_market else fields.needed_amount("price"),
        time_in_force="FOK" if time_in_force == "FOK" else "IOC" if is_market else time_in_force,
        link_id=fields.link_id(),
        position_idx=fields.number("positionIdx", 0, 1, 2),
        reduce_only=fields.flag("reduceOnly"),
        close_on_trigger=fields.flag("closeOnTrigger"),
        trigger_price=fields.amount("triggerPrice"),
        trigger_direction=fields.number("triggerDirection", RISING, FALLING),
        trigger_by=fields.choice("triggerBy", *TRIGGERS, default="LastPrice"),
        stops=read_stops(fields),
        slippage_type=fields.choice("slippageToleranceType", "TickSize", "Percent"),
        slippage=fields.amount("slippageTolerance"),
    )
    _check_combinations(request)
    return request


def read_side(fields: Fields) -> Side:
    return "Buy" if fields.choice("side", "Buy", "Sell", required=True) == "Buy" else "Sell"


def read_stops(fields: Fields) -> AttachedStops | None:
    """Read the take profit and stop loss of an order; None if it has neither."""
    take_profit, stop_loss = _positive(fields, "takeProfit"), _positive(fields, "stopLoss")
    mode: Literal["Full", "Partial"]
    mode = "Partial" if fields.choice("tpslMode", "Full", "Partial") == "Partial" else "Full"
    limits = [read_limit(fields, "tp", mode, take_profit), read_limit(fields, "sl", mode, stop_loss)]
    if take_profit is None and stop_loss is None:
        return None
    return AttachedStops(
        mode=mode,
        take_profit=take_profit,
        stop_loss=stop_loss,
        tp_trigger_by=fields.choice("tpTriggerBy", *TRIGGERS, default="LastPrice"),
        sl_trigger_by=fields.choice("slTriggerBy", *TRIGGERS, default="LastPrice"),
        tp_limit_price=limits[0],
        sl_limit_price=limits[1],
    )


def read_limit(fields: Fields, prefix: Literal["tp", "sl"], mode: str, trigger: Decimal | None) -> Decimal | None:
    """Read the limit price of a take profit or stop loss; None: it is a market order."""
    kind = fields.choice(f"{prefix}OrderType", "Market", "Limit", default="Market")
    price = _positive(fields, f"{prefix}LimitPrice")
    if kind == "Market":
        return None
    if mode == "Full" or price is None or trigger is None:
        raise Refusal(10001, f"params error: {prefix}OrderType Limit needs tpslMode Partial and a limit price")
    return price


def _positive(fields: Fields, name: str) -> Decimal | None:
    """Read a price; 0 is none."""
    return fields.amount(name) or None


def _check_combinations(request: OrderRequest) -> None:
    if request.qty == ZERO and not (request.is_market and request.reduce_only and request.close_on_trigger):
        raise Refusal(10001, "params error: Qty invalid")
    if request.stops is not None and (request.reduce_only or request.close_on_trigger):
        raise Refusal(10001, "reduce-only orders cannot have take profit or stop loss")
    if request.trigger_price is not None and not request.trigger_direction:
        raise Refusal(10001, "params error: triggerDirection invalid")
    if not request.slippage_type and request.slippage is None:
        return
    if not request.slippage_type or request.slippage is None:
        raise Refusal(10001, "params error: slippageTolerance invalid")
    if not request.is_market or request.stops is not None or request.trigger_price is not None:
        raise Refusal(10001, "slippageTolerance is only for market orders without TP/SL and trigger")
    if request.slippage_type == "TickSize":
        if not 1 <= request.slippage <= _LARGEST_TICKS or request.slippage % 1:
            raise Refusal(110108)
    elif not _SMALLEST_PERCENT <= request.slippage <= _LARGEST_PERCENT or request.slippage % _SMALLEST_PERCENT:
        raise Refusal(110109)
