"""An account on Bybit as a `Venue`: linear USDT contracts, one-way mode, amounts always as strings."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TypeVar

from services.trading.exchange.account_api import SERVER_TIME, Answer
from services.trading.exchange.account_calls import AccountCalls
from services.trading.exchange.messages import (
    CATEGORY,
    ONE_WAY,
    SETTLE_COIN,
    Row,
    amount_of,
    cursor_of,
    execution_of,
    order_of,
    order_of_executions,
    position_of,
    rows_of,
    wallet_of,
)
from services.trading.exchange.outcomes import LEVERAGE_UNCHANGED, STOP_UNCHANGED
from services.trading.exchange.request_window import Lane
from services.trading.exchange.venue import (
    NewOrder,
    OutcomeUnknown,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueUnavailable,
    VenueWallet,
)
from shared.contracts.types import decimal_text, from_ms, to_ms

CREATE_ORDER = "/v5/order/create"
CANCEL_ORDER = "/v5/order/cancel"
CANCEL_ALL = "/v5/order/cancel-all"
TRADING_STOP = "/v5/position/trading-stop"
SET_LEVERAGE = "/v5/position/set-leverage"
OPEN_ORDERS = "/v5/order/realtime"
ORDER_HISTORY = "/v5/order/history"
EXECUTIONS = "/v5/execution/list"
POSITIONS = "/v5/position/list"
WALLET = "/v5/account/wallet-balance"

ORDERS_A_PAGE = 50
POSITIONS_A_PAGE = 200
EXECUTIONS_A_PAGE = 100
MOST_PAGES = 200  # of one question
WINDOW = timedelta(days=7)  # the longest that the exchange allows

_SLIPPAGE = {"TICKS": "TickSize", "PERCENT": "Percent"}
T = TypeVar("T")


class BybitVenue:
    """Implements `Venue`. The lane of each request follows from what it does."""

    def __init__(self, calls: AccountCalls) -> None:
        self._calls = calls

    async def create_order(self, order: NewOrder) -> str:
        result = await self._calls.command(_lane_of(order), CREATE_ORDER, _body_of(order), until=order.send_until)
        order_id = result.get("orderId") if result is not None else None
        if not isinstance(order_id, str) or not order_id:
            raise OutcomeUnknown("the order is accepted, but the answer does not name it")
        return order_id

    async def cancel_order(self, symbol: str, link_id: str) -> None:
        body = {"category": CATEGORY, "symbol": symbol, "orderLinkId": link_id}
        await self._calls.command(Lane.CLOSE, CANCEL_ORDER, body)

    async def cancel_all(self, symbol: str) -> None:
        result = await self._calls.command(Lane.CLOSE, CANCEL_ALL, {"category": CATEGORY, "symbol": symbol})
        if result is None or result.get("success") != "1":
            raise OutcomeUnknown("the exchange does not confirm that all orders are cancelled")

    async def set_stop(self, symbol: str, price: Decimal | None) -> None:
        body = {
            "category": CATEGORY,
            "symbol": symbol,
            "positionIdx": ONE_WAY,
            "tpslMode": "Full",
            "stopLoss": decimal_text(price) if price is not None else "0",
            "slTriggerBy": "LastPrice",
        }
        await self._calls.command(Lane.STOP, TRADING_STOP, body, done={STOP_UNCHANGED})

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        text = decimal_text(leverage)
        body = {"category": CATEGORY, "symbol": symbol, "buyLeverage": text, "sellLeverage": text}
        await self._calls.command(Lane.ENTRY, SET_LEVERAGE, body, done={LEVERAGE_UNCHANGED})

    async def find_order(self, symbol: str, link_id: str) -> VenueOrder | None:
        query = {"category": CATEGORY, "symbol": symbol, "orderLinkId": link_id}
        for path in (OPEN_ORDERS, ORDER_HISTORY):
            rows = await self._ask(Lane.STOP, path, query, lambda answer: _linked(answer.result, link_id, order_of))
            if rows:
                return max(rows, key=lambda order: order.updated_at)
        return await self._ask(
            Lane.STOP, EXECUTIONS, query, lambda answer: _order_of_executions(answer.result, link_id)
        )

    async def list_open_orders(self, symbols: Collection[str] = ()) -> Sequence[VenueOrder]:
        orders = await self._pages(Lane.POLL, OPEN_ORDERS, symbols, {"openOnly": 0}, ORDERS_A_PAGE, order_of)
        return list({order.order_id: order for order in orders if order.status.is_open}.values())

    async def list_positions(self, symbols: Collection[str] = ()) -> Sequence[VenuePosition]:
        """The exchange lists those that are not flat; it has to be asked for each of the others."""
        listed: list[VenuePosition] = []
        if len(symbols) != 1:
            listed = await self._pages(Lane.STOP, POSITIONS, symbols, {}, POSITIONS_A_PAGE, position_of)
        others = sorted(set(symbols) - {position.symbol for position in listed})
        return [*listed, *await asyncio.gather(*map(self.get_position, others))]

    async def get_position(self, symbol: str) -> VenuePosition:
        def read(answer: Answer) -> VenuePosition:
            (row,) = rows_of(answer.result)
            return position_of(row)

        return await self._ask(Lane.STOP, POSITIONS, _of_symbols([symbol]), read)

    async def list_executions(self, since: datetime, symbols: Collection[str] = ()) -> Sequence[VenueExecution]:
        found: dict[str, VenueExecution] = {}
        start = since
        for _ in range(MOST_PAGES):
            end = start + WINDOW - timedelta(milliseconds=1)
            now_ms = await self._collect(found, symbols, {"startTime": to_ms(start), "endTime": to_ms(end)})
            start += WINDOW
            if to_ms(start) > now_ms:
                executions = list(found.values())
                executions.reverse()  # the exchange lists the newest first
                return sorted(executions, key=lambda execution: execution.time)
        raise VenueUnavailable(f"executions since {since} are more than {MOST_PAGES} windows")

    async def get_wallet(self) -> VenueWallet:
        def read(answer: Answer) -> VenueWallet:
            (row,) = rows_of(answer.result)
            return wallet_of(row)

        return await self._ask(Lane.POLL, WALLET, {"accountType": "UNIFIED", "coin": SETTLE_COIN}, read)

    async def server_time(self) -> datetime:
        return await self._ask(
            Lane.POLL, SERVER_TIME, {}, lambda answer: from_ms(int(answer.result["timeNano"]) // 1_000_000)
        )

    async def _collect(
        self, found: dict[str, VenueExecution], symbols: Collection[str], window: Mapping[str, object]
    ) -> int:
        """Add the executions of a window, newest first. Returns the exchange's time (ms)."""
        times: list[int] = []
        rows = await self._pages(Lane.POLL, EXECUTIONS, symbols, window, EXECUTIONS_A_PAGE, execution_of, times)
        found.update((execution.execution_id, execution) for execution in rows)
        return times[-1]

    async def _pages(
        self,
        lane: Lane,
        path: str,
        symbols: Collection[str],
        query: Mapping[str, object],
        limit: int,
        read: Callable[[Row], T],
        times: list[int] | None = None,
    ) -> list[T]:
        """Read all pages; rows of other symbols are left alone. `times` takes the exchange's time (ms) of each."""

        def read_page(answer: Answer) -> tuple[Answer, list[T]]:
            rows = rows_of(answer.result)
            return answer, [read(row) for row in rows if not symbols or row["symbol"] in symbols]

        found: list[T] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = {**_of_symbols(symbols), **query, "limit": limit, "cursor": cursor or None}
            answer, rows = await self._ask(lane, path, page, read_page)
            found += rows
            if times is not None:
                times.append(answer.time_ms)
            following = cursor_of(answer.result)
            if not following or following == cursor or not rows_of(answer.result):
                return found
            cursor = following
        raise VenueUnavailable(f"{path} has more than {MOST_PAGES} pages")

    async def _ask(self, lane: Lane, path: str, query: Mapping[str, object], read: Callable[[Answer], T]) -> T:
        return await self._calls.question(lane, path, query, read)


def _lane_of(order: NewOrder) -> Lane:
    """Exits go first, then targets, then entries."""
    if not order.reduce_only:
        return Lane.ENTRY
    return Lane.CLOSE if order.price is None else Lane.STOP


def _body_of(order: NewOrder) -> dict[str, object]:
    body: dict[str, object] = {
        "category": CATEGORY,
        "symbol": order.symbol,
        "side": order.side.capitalize(),
        "positionIdx": ONE_WAY,
        "orderType": "Market" if order.price is None else "Limit",
        "qty": decimal_text(order.quantity),
        "orderLinkId": order.link_id,
        "reduceOnly": order.reduce_only,
    }
    if order.closes_all:
        body |= {"qty": "0", "closeOnTrigger": True}
    if order.price is not None:
        body |= {"price": decimal_text(order.price), "timeInForce": "GTC"}
    if order.stop_loss is not None:
        body |= {"stopLoss": decimal_text(order.stop_loss), "slTriggerBy": "LastPrice", "tpslMode": "Full"}
    if order.slippage is not None:
        body["slippageToleranceType"] = _SLIPPAGE[order.slippage.kind]
        body["slippageTolerance"] = decimal_text(order.slippage.value)
    return body


def _of_symbols(symbols: Collection[str]) -> dict[str, object]:
    """The exchange answers for one symbol, or for all."""
    if len(symbols) == 1:
        (symbol,) = symbols
        return {"category": CATEGORY, "symbol": symbol}
    return {"category": CATEGORY, "settleCoin": SETTLE_COIN}


def _linked(result: Row, link_id: str, read: Callable[[Row], T]) -> list[T]:
    return [read(row) for row in rows_of(result) if row["orderLinkId"] == link_id]


def _order_of_executions(result: Row, link_id: str) -> VenueOrder | None:
    executions = sorted(_linked(result, link_id, execution_of), key=lambda execution: execution.time)
    quantities = _linked(result, link_id, lambda row: amount_of(row, "orderQty"))
    return order_of_executions(executions, max(quantities)) if executions else None
