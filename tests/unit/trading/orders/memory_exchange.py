"""An exchange in memory: one account and one symbol, late answers, lost answers, and a ledger of what happened."""

import asyncio
import random
from bisect import bisect_right
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from services.trading.exchange.venue import (
    ExecutionKind,
    LinkIdUsed,
    NewOrder,
    NotSent,
    OrderOrigin,
    OrderSide,
    OrderStatus,
    OutcomeUnknown,
    Refused,
    StopPassed,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueUnavailable,
    VenueWallet,
)
from tests.unit.trading.orders.virtual_time import VirtualLoop

SYMBOL = "BTCUSDT"
ZERO = Decimal(0)
FEE = Decimal("0.00055")
STEP = Decimal("0.001")


@dataclass
class Faults:
    """Probabilities, and the longest delays in seconds."""

    refused: float = 0
    not_sent: float = 0
    lost_request: float = 0
    lost_answer: float = 0
    repeated: float = 0  # an order is delivered twice, and the second answer is returned
    late: float = 0  # processed long after the caller gave up
    rejected_later: float = 0  # acknowledged, then rejected
    unavailable: float = 0
    partial: float = 0
    cut: float = 0  # a market order ends cancelled with a part filled
    duplicate: float = 0
    lag_s: float = 0  # of what questions show
    delay_s: float = 0.05


class MemoryExchange:
    def __init__(self, loop: VirtualLoop, draw: random.Random, faults: Faults, price: Decimal) -> None:
        self.loop = loop
        self.draw = draw
        self.faults = faults
        self.price = price
        self.position = ZERO  # signed
        self.entry_link: str | None = None
        self.stop: Decimal | None = None
        self.leverage = Decimal(1)
        self.orders: dict[str, VenueOrder] = {}
        self.limits: dict[str, Decimal] = {}
        self.executions: list[tuple[float, VenueExecution]] = []  # with the time from which it is listed
        self.accepted: list[NewOrder] = []
        self.rejected_late = 0
        self.calls = 0
        self.on_change: Callable[[], None] = lambda: None
        self._history: list[tuple[float, dict[str, VenueOrder], VenuePosition]] = []
        self._number = 0
        self.remember()

    # Commands, as the venue.

    async def command(self, process: Callable[[], Any]) -> Any:
        """Deliver a command: it may be lost on the way there or back, or arrive late."""
        self.calls += 1
        draw, faults = self.draw.random(), self.faults
        if draw < faults.not_sent:
            await self._pause()
            raise NotSent("too many visits", self.draw.choice([0, 0.5, 2]))
        draw -= faults.not_sent
        if draw < faults.lost_request:
            await asyncio.sleep(3)
            raise OutcomeUnknown
        draw -= faults.lost_request
        if draw < faults.late:
            self.loop.call_later(self.draw.uniform(0, 6), self._process_unheard, process)
            await asyncio.sleep(3)
            raise OutcomeUnknown
        draw -= faults.late
        done: asyncio.Future[Any] = self.loop.create_future()
        self.loop.call_later(self._delay(), self._process, process, done)
        result = await done
        if draw < faults.lost_answer and not isinstance(result, Exception):
            await asyncio.sleep(self.draw.choice([0.0, 3.0]))
            raise OutcomeUnknown
        await self._pause()
        if isinstance(result, Exception):
            raise result
        return result

    def _process_unheard(self, process: Callable[[], Any]) -> None:
        try:
            process()
        except Refused:
            return

    def _process(self, process: Callable[[], Any], done: "asyncio.Future[Any]") -> None:
        try:
            result = process()
        except Refused as refused:
            result = refused
        if not done.done():
            done.set_result(result)

    async def create_order(self, order: NewOrder) -> str:
        order_id = await self.command(lambda: self._create(order))
        if self.draw.random() < self.faults.repeated:
            raise LinkIdUsed(110072, "OrderLinkedID is duplicate")
        return str(order_id)

    async def cancel_order(self, symbol: str, link_id: str) -> None:
        await self.command(lambda: self._cancel(link_id, "CancelByUser", required=True))

    async def cancel_all(self, symbol: str) -> None:
        raise AssertionError("other orders than the session's would be cancelled")

    async def set_stop(self, symbol: str, price: Decimal | None) -> None:
        await self.command(lambda: self._set_stop(price))

    async def set_leverage(self, symbol: str, leverage: Decimal) -> None:
        def set_it() -> None:
            self.leverage = leverage
            self.remember()

        await self.command(set_it)

    # Questions.

    async def _question(self) -> tuple[dict[str, VenueOrder], VenuePosition, float]:
        """Return what is shown, and as of when: perhaps a while ago."""
        self.calls += 1
        await self._pause()
        if self.draw.random() < self.faults.unavailable:
            raise VenueUnavailable
        at = self.loop.time() - self.draw.choice([0.0, self.draw.uniform(0, self.faults.lag_s)])
        found = bisect_right(self._history, at, key=lambda each: each[0]) - 1
        _, orders, position = self._history[max(found, 0)]
        await self._pause()
        return orders, position, at

    async def find_order(self, symbol: str, link_id: str) -> VenueOrder | None:
        orders, _, _ = await self._question()
        return orders.get(link_id)

    async def list_open_orders(self, symbols: Collection[str] = ()) -> Sequence[VenueOrder]:
        orders, _, _ = await self._question()
        return [order for order in orders.values() if order.status.is_open]

    async def list_positions(self, symbols: Collection[str] = ()) -> Sequence[VenuePosition]:
        return [await self.get_position(SYMBOL)]

    async def get_position(self, symbol: str) -> VenuePosition:
        _, position, _ = await self._question()
        return position

    async def list_executions(self, since: datetime, symbols: Collection[str] = ()) -> Sequence[VenueExecution]:
        _, _, at = await self._question()
        found = [each for listed, each in self.executions if listed <= at and each.time >= since]
        if found and self.draw.random() < self.faults.duplicate:
            found.append(self.draw.choice(found))
        return sorted(found, key=lambda each: each.time)

    async def get_wallet(self) -> VenueWallet:
        raise AssertionError("not asked by a session")

    async def server_time(self) -> datetime:
        return self.loop.now()

    # The market.

    def set_price(self, price: Decimal) -> None:
        self.price = price
        if self.stop is not None and self._is_at_stop(self.stop):
            self._close_by(OrderOrigin.STOP_LOSS, abs(self.position), ExecutionKind.TRADE)
        for link, limit in sorted(self.limits.items(), key=lambda each: abs(each[1] - price)):
            order = self.orders.get(link)
            if order is not None and order.status.is_open:
                self._fill_limit(link, limit)

    def trade_by_hand(self, side: OrderSide, quantity: Decimal) -> None:
        """A person's market order, without a link id."""
        self._execute(None, side, quantity, OrderOrigin.REQUEST, ExecutionKind.TRADE)

    def order_by_hand(self, side: OrderSide, quantity: Decimal) -> str:
        link = f"hand-{self._next()}"
        self.orders[link] = self._new(NewOrder(link, SYMBOL, side, quantity, Decimal(1)))
        self.remember()
        return link

    def take_over(self, kind: ExecutionKind, quantity: Decimal) -> None:
        """Liquidate or deleverage a part of the position."""
        self._close_by(OrderOrigin.OTHER, quantity, kind)

    def fund(self, fee: Decimal) -> None:
        side: OrderSide = "BUY" if self.position > 0 else "SELL"
        self._list(self._execution(None, side, abs(self.position), fee, ExecutionKind.FUNDING, OrderOrigin.OTHER))

    # Orders.

    def _create(self, order: NewOrder) -> str:
        if order.link_id in self.orders:
            raise LinkIdUsed(110072, "OrderLinkedID is duplicate")
        if self.draw.random() < self.faults.refused:
            raise Refused(110007, "ab not enough for new order")
        closes = (self.position > 0) == (order.side == "SELL") and self.position != 0
        if order.reduce_only and not closes:
            raise Refused(110017, "current position is zero, cannot fix reduce-only order qty")
        self.accepted.append(order)
        self.orders[order.link_id] = self._new(order)
        if self.draw.random() < self.faults.rejected_later:
            self.rejected_late += 1
            self.loop.call_later(self._delay(), self._end, order.link_id, OrderStatus.REJECTED, "EC_PerCancel")
        elif order.price is None:
            self.loop.call_later(self._delay(), self._fill_market, order)
        else:
            self.limits[order.link_id] = order.price
            self.loop.call_later(self._delay(), self._fill_limit, order.link_id, order.price)
        self.remember()
        return self.orders[order.link_id].order_id

    def _new(self, order: NewOrder) -> VenueOrder:
        now = self.loop.now()
        return VenueOrder(
            f"o{self._next()}",
            order.link_id,
            None,
            SYMBOL,
            order.side,
            OrderStatus.NEW,
            OrderOrigin.REQUEST,
            order.quantity,
            ZERO,
            None,
            None,
            order.reduce_only,
            None,
            now,
            now,
        )

    def _fill_market(self, order: NewOrder) -> None:
        current = self.orders[order.link_id]
        if not current.status.is_open:
            return
        left = order.quantity - current.filled
        if order.reduce_only:
            left = min(left, abs(self.position))
        part, then = left, OrderStatus.FILLED
        if left > STEP and self.draw.random() < self.faults.partial:
            part = STEP * self.draw.randint(1, int(left / STEP) - 1)
            then = OrderStatus.PARTIALLY_FILLED
            if self.draw.random() < self.faults.cut:
                then = OrderStatus.CANCELLED
        if part:
            self._execute(current, order.side, part, OrderOrigin.REQUEST, ExecutionKind.TRADE)
            if not order.reduce_only:
                self.entry_link = order.link_id
                self.stop = order.stop_loss
        self._end(order.link_id, then)
        if then is OrderStatus.PARTIALLY_FILLED:
            self.loop.call_later(self._delay(), self._fill_market, order)
        if self.stop is not None and self._is_at_stop(self.stop):
            self._close_by(OrderOrigin.STOP_LOSS, abs(self.position), ExecutionKind.TRADE)

    def _fill_limit(self, link: str, limit: Decimal) -> None:
        order = self.orders[link]
        if not order.status.is_open or not self.position:
            return
        reached = self.price >= limit if order.side == "SELL" else self.price <= limit
        if not reached:
            return
        left = min(order.quantity - order.filled, abs(self.position))
        part = left
        if left > STEP and self.draw.random() < self.faults.partial:
            part = STEP * self.draw.randint(1, int(left / STEP) - 1)
        self._execute(order, order.side, part, OrderOrigin.REQUEST, ExecutionKind.TRADE)
        order = self.orders[link]
        if order.status.is_open:
            self._end(
                link, OrderStatus.FILLED if not order.quantity - order.filled else OrderStatus.PARTIALLY_FILLED
            )

    def _cancel(self, link: str, reason: str, *, required: bool = False) -> None:
        order = self.orders.get(link)
        if order is None or not order.status.is_open:
            if required:
                raise Refused(110001, "order not exists or too late to cancel")
            return
        self._end(link, OrderStatus.CANCELLED, reason)

    def _end(self, link: str, status: OrderStatus, reason: str | None = None) -> None:
        order = self.orders[link]
        if order.status.is_open:
            if status is OrderStatus.REJECTED and order.filled:
                status = OrderStatus.CANCELLED
            if status is OrderStatus.FILLED and order.filled < order.quantity:
                status = OrderStatus.CANCELLED
            self.orders[link] = replace(order, status=status, reason=reason, updated_at=self.loop.now())
            self.remember()

    def _set_stop(self, price: Decimal | None) -> None:
        if not self.position:
            raise Refused(10001, "can not set tp/sl/ts for zero position")
        if price is not None and self._is_at_stop(price):
            raise StopPassed(10001, "StopLoss price should be lower than base price")
        self.stop = price
        self.remember()

    def _is_at_stop(self, stop: Decimal) -> bool:
        return self.price <= stop if self.position > 0 else self.price >= stop

    # Executions.

    def _close_by(self, origin: OrderOrigin, quantity: Decimal, kind: ExecutionKind) -> None:
        side: OrderSide = "SELL" if self.position > 0 else "BUY"
        self._execute(None, side, quantity, origin, kind)

    def _execute(
        self,
        order: VenueOrder | None,
        side: OrderSide,
        quantity: Decimal,
        origin: OrderOrigin,
        kind: ExecutionKind,
    ) -> None:
        fee = quantity * self.price * FEE
        self._list(self._execution(order, side, quantity, fee, kind, origin))
        before = self.position
        self.position += quantity if side == "BUY" else -quantity
        if order is not None and order.link_id is not None:
            current = self.orders[order.link_id]
            self.orders[order.link_id] = replace(current, filled=current.filled + quantity)
        if not self.position or (before and (before > 0) != (self.position > 0)):
            self.stop = self.entry_link = None
            for link, each in list(self.orders.items()):
                if each.reduce_only and each.status.is_open and each.filled < each.quantity:
                    self._cancel(link, "CancelByReduceOnly")
        self.remember()

    def _execution(
        self,
        order: VenueOrder | None,
        side: OrderSide,
        quantity: Decimal,
        fee: Decimal,
        kind: ExecutionKind,
        origin: OrderOrigin,
    ) -> VenueExecution:
        number = self._next()
        return VenueExecution(
            f"e{number}",
            order.order_id if order is not None else f"o{number}",
            order.link_id if order is not None else None,
            self.entry_link if origin is OrderOrigin.STOP_LOSS else None,
            SYMBOL,
            side,
            kind,
            origin,
            quantity,
            self.price,
            fee,
            "USDT",
            ZERO,
            self.loop.now(),
        )

    def _list(self, execution: VenueExecution) -> None:
        listed = self.loop.time() + self.draw.choice([0.0, self.draw.uniform(0, self.faults.lag_s)])
        self.executions.append((listed, execution))

    @property
    def shown_position(self) -> VenuePosition:
        return self._history[-1][2]

    def remember(self) -> None:
        side = None if not self.position else "LONG" if self.position > 0 else "SHORT"
        position = VenuePosition(
            SYMBOL,
            side,  # type: ignore[arg-type]
            abs(self.position),
            self.price if self.position else None,
            self.leverage,
            self.stop if self.position else None,
            self.loop.now(),
        )
        self._history.append((self.loop.time(), dict(self.orders), position))
        self.on_change()

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _delay(self) -> float:
        return self.draw.uniform(0.001, self.faults.delay_s)

    async def _pause(self) -> None:
        await asyncio.sleep(self._delay())
