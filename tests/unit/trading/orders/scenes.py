"""A session with a book, an account and a clock, moved by hand."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from services.trading.exchange.venue import (
    ExecutionKind,
    OrderOrigin,
    OrderSide,
    OrderStatus,
    VenueExecution,
    VenueOrder,
    VenuePosition,
)
from services.trading.orders.book import Book, SessionFacts
from services.trading.orders.intents import Intent, IntentState, Leg
from services.trading.orders.plan import Answer, Observations, Plan, View, observe
from services.trading.orders.planner import plan
from services.trading.orders.store import Change, Control, Loaded
from shared.contracts.types import EPOCH, from_ms
from shared.strategy.bars import Side
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.series import Series
from tests.unit.strategy.scenes import FREE, HOUR, START, at_close, bars, strategy
from tests.unit.trading.orders.memory_exchange import SYMBOL
from tests.unit.trading.orders.schedules import ACCOUNT, SESSION

D = Decimal
BOTH_WAYS = {"long": at_close("100"), "short": at_close("99")}
LEAVE = {"long": at_close("99", "98"), "short": at_close("100")}
TARGETS = [
    {"type": "percent", "value": "10", "close_percent": "50"},
    {"type": "percent", "value": "20", "close_percent": "50"},
]
STOP = {"stop_loss": {"type": "percent", "value": "10"}}


class Scene:
    """Buys one coin at a close of 100, leaves at 98, reverses at 99; stop at 10 %, two targets."""

    def __init__(self, control: Control | None = None, **risk: object) -> None:
        plan_of = strategy(BOTH_WAYS, LEAVE, "BOTH", risk={**STOP, "take_profits": TARGETS, **risk})
        self.execution = ExchangeExecution(plan_of, FREE)
        self.facts = SessionFacts(
            session_id=SESSION,
            account_id=ACCOUNT,
            symbol=SYMBOL,
            strategy_hash=plan_of.content_hash,
            leverage=plan_of.risk.leverage,
            interval_ms=HOUR,
            entry_deadline=timedelta(seconds=20),
            min_order_qty=D("0.001"),
        )
        loaded = Loaded(snapshot=None, last_bar=None, control=control or Control(), since=EPOCH)
        self.book = Book(self.facts, 1, self.execution, loaded)
        self.series = Series()
        self.seen = Observations()
        self.now = from_ms(START)
        self._executions = 0

    # The session.

    def close(self, price: str, refusal: str | None = None) -> "Scene":
        """Step a bar that closes at this price; its time has just passed."""
        (bar,) = bars(price, start=START + len(self.series) * HOUR)
        self.series.append(bar)
        self.now = bar.open_time + timedelta(milliseconds=HOUR)
        outcome = self.execution.on_close(self.series, guard=lambda _: refusal)
        self.book.step(bar.open_time, bar.close, outcome, self.now)
        return self

    def control(self, **changes: Any) -> "Scene":
        self.book.control = replace(self.book.control, **changes)
        return self

    def wait(self, seconds: float) -> "Scene":
        self.now += timedelta(seconds=seconds)
        return self

    def intent(self, leg: Leg) -> Intent:
        """Return the last intent of a leg."""
        found = [intent for intent in self.book.intents.values() if intent.leg == leg]
        return max(found, key=lambda intent: (intent.bar, intent.attempt))

    def move(self, leg: Leg, *states: IntentState) -> "Scene":
        for state in states:
            sent = {"sent_at": self.now} if state is IntentState.SENDING else {}
            self.book.put(self.intent(leg).to(state, **sent))
        return self

    def sent(self, leg: Leg) -> "Scene":
        return self.move(leg, IntentState.SENDING, IntentState.ACKED)

    def entered(self, price: str = "100") -> "Scene":
        """The entry is decided, sent and filled; the account shows the position with its stop."""
        self.close("100").sent("entry")
        self.fill("entry", "1", price)
        stop = self.execution.desired_stop()
        assert stop is not None
        return self.shows("LONG", "1", stop=stop[0])

    def change(self) -> Change:
        change = self.book.take_change(self.execution.snapshot)
        assert change is not None
        return change

    # The exchange.

    def fill(self, leg: Leg, qty: str, price: str) -> VenueExecution:
        intent = self.intent(leg)
        return self.executes(intent.side, qty, price, link=intent.link_id)

    def executes(
        self,
        side: OrderSide,
        qty: str,
        price: str,
        *,
        link: str | None = None,
        kind: ExecutionKind = ExecutionKind.TRADE,
        origin: OrderOrigin = OrderOrigin.REQUEST,
        fee: str = "0",
        coin: str = "USDT",
    ) -> VenueExecution:
        self._executions += 1
        name = f"e{self._executions}"
        execution = VenueExecution(
            name, name, link, None, SYMBOL, side, kind, origin, D(qty), D(price), D(fee), coin, D(0), self.now
        )
        self.book.book(execution)
        return execution

    def shows(
        self,
        side: Side | None = None,
        qty: str = "0",
        *,
        stop: Decimal | None = None,
        orders: tuple[VenueOrder, ...] = (),
        leverage: str = "1",
    ) -> "Scene":
        """The account is read now, and shows this."""
        price = D(100) if side is not None else None
        position = VenuePosition(SYMBOL, side, D(qty), price, D(leverage), stop, self.now)
        self.seen.view = View(self.now, position, orders)
        self.seen.is_outdated = False
        observe(self.seen, self.book, self.seen.view)
        return self

    def order(
        self,
        link: str,
        status: OrderStatus = OrderStatus.NEW,
        filled: str = "0",
        origin: OrderOrigin = OrderOrigin.REQUEST,
    ) -> VenueOrder:
        return VenueOrder(
            f"o-{link}",
            link,
            None,
            SYMBOL,
            "BUY",
            status,
            origin,
            D(1),
            D(filled),
            None,
            None,
            False,
            "reason",
            self.now,
            self.now,
        )

    def answers(self, leg: Leg, status: OrderStatus | None, filled: str = "0") -> "Scene":
        """The exchange is asked for the order of this leg now; None: it does not have it."""
        link = self.intent(leg).link_id
        order = self.order(link, status, filled) if status is not None else None
        self.seen.answers[link] = Answer(self.now, order)
        return self

    # The planner.

    def plan(self) -> Plan:
        return plan(self.book, self.seen, self.now, self.now)

    def at(self, seconds: float) -> datetime:
        return self.now + timedelta(seconds=seconds)
