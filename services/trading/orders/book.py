"""A session's book: its execution, intents and executions, as committed, plus what is to be committed next."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from uuid import UUID

from services.trading.exchange.venue import (
    ExecutionKind,
    OrderOrigin,
    OrderSide,
    SlippageTolerance,
    VenueExecution,
)
from services.trading.orders.intents import TARGET_LEGS, Intent, IntentState, Leg
from services.trading.orders.link_ids import is_ours, link_id
from services.trading.orders.store import Booking, Change, Control, Incident, Loaded
from shared.contracts.types import from_ms, new_id, to_ms
from shared.strategy.bars import Side
from shared.strategy.decimals import ZERO, exact, quantised_quotient
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.outcome import NO_OUTCOME, Reason, StepOutcome

Rest = Literal["entry", "foreign", "ignored"]
"""The effect of the part of an execution that closes nothing."""
CLOSING_LEGS: tuple[Leg, ...] = ("exit", "stop", "flatten")
OF_POSITION = (OrderOrigin.STOP_LOSS, OrderOrigin.TAKE_PROFIT, OrderOrigin.TRAILING_STOP)
SETTLE_COIN = "USDT"
MOST_LOST_ATTEMPTS = 8  # of an order that a restored database has lost


@dataclass(frozen=True, kw_only=True, slots=True)
class SessionFacts:
    """The facts of a session that do not change while it runs."""

    session_id: UUID
    account_id: UUID  # of the exchange account
    symbol: str
    strategy_hash: str
    leverage: Decimal
    interval_ms: int
    entry_deadline: timedelta
    min_order_qty: Decimal
    tolerance: SlippageTolerance | None = None  # of entries


class Book:
    """Changes are applied at once and collected for `take_change`. If that cannot be committed, load a new book."""

    def __init__(
        self,
        facts: SessionFacts,
        epoch: int,
        execution: ExchangeExecution,
        loaded: Loaded,
        *,
        is_behind: bool = False,
    ) -> None:
        """`is_behind`: the execution could not be stepped up to `last_bar`; its stop may have moved since."""
        self.facts = facts
        self.is_behind = is_behind
        self.execution = execution
        self.control: Control = loaded.control
        self.last_bar = loaded.last_bar
        self.intents: dict[str, Intent] = {intent.link_id: intent for intent in loaded.intents}
        self.booked = set(loaded.booked)
        self.foreign = list(loaded.foreign)
        self.ignored = loaded.ignored
        self.ignored_orders = set(loaded.ignored_orders)
        self._epoch = epoch
        self.noted: set[str] = set()  # keys of incidents; the store records each once
        self._done: set[str] = set()  # link ids and execution ids that the next call of `forget` drops
        self._listed: set[str] = set()
        self._reset()

    def _reset(self) -> None:
        self._bar: datetime | None = None
        self._outcome = NO_OUTCOME
        self._changed: dict[str, Intent] = {}
        self._bookings: list[Booking] = []
        self._incidents: list[Incident] = []
        self._flags: dict[str, bool] = {}
        self._orders_ignored: tuple[str, ...] = ()

    def take_change(self, snapshot: Callable[[], Mapping[str, object]]) -> Change | None:
        """Return everything since the last call; None if nothing has changed."""
        changes = (self._changed, self._bookings, self._incidents, self._flags)
        if self._bar is None and self._outcome is NO_OUTCOME and not any(changes):
            return None
        change = Change(
            snapshot=snapshot(),
            bar=self._bar,
            outcome=self._outcome,
            intents=tuple(self._changed.values()),
            bookings=tuple(self._bookings),
            incidents=tuple(self._incidents),
            ignored=self.ignored,
            ignored_orders=self._orders_ignored,
            **self._flags,
        )
        self._reset()
        return change

    # Reading.

    @property
    def signed_position(self) -> Decimal:
        """The booked position; negative if short."""
        position = self.execution.position
        return ZERO if position is None else signed(position.left, position.side)

    @property
    def expected_position(self) -> Decimal:
        """The position that the exchange should show."""
        foreign = sum((_signed_part(booking) for booking in self.foreign), ZERO)
        return self.signed_position + self.ignored + foreign

    @property
    def is_exposed(self) -> bool:
        """Whether an execution may come, or one is awaited."""
        sent = any(intent.state.was_sent for intent in self.intents.values())
        return sent or self.execution.position is not None or self.execution.pending

    def entry(self) -> Intent | None:
        """Return the intent of the last entry."""
        entries = [intent for intent in self.intents.values() if intent.is_entry]
        return max(entries, key=lambda intent: intent.bar, default=None)

    def of_leg(self, leg: Leg, bar: datetime) -> list[Intent]:
        """Return the attempts of a leg, the last one last."""
        found = [intent for intent in self.intents.values() if intent.leg == leg and intent.bar == bar]
        return sorted(found, key=lambda intent: intent.attempt)

    def closing(self) -> list[Intent]:
        """Return the orders that are to close the whole position and are not final."""
        return [
            intent for intent in self.intents.values() if intent.leg in CLOSING_LEGS and not intent.state.is_final
        ]

    def forget(self) -> None:
        """Drop the executions and the final orders that the last call found already, but those of the open trade.

        In between, readings must have moved past these executions.
        """
        position, interval_ms = self.execution.position, self.facts.interval_ms
        first = from_ms(position.entry_time - 2 * interval_ms) if position is not None else None
        done = {
            link
            for link, intent in self.intents.items()
            if intent.state.is_final and (first is None or intent.bar < first)
        }
        for link in done & self._done:
            del self.intents[link]
        self.booked -= self._listed
        self._done, self._listed = done, set(self.booked)
        self.noted.clear()

    def closes_all(self, intent: Intent) -> bool:
        """Return whether the order has to close whatever there is: it is below the exchange's smallest order, and
        the whole position is the session's."""
        is_too_small = intent.leg in CLOSING_LEGS and intent.quantity < self.facts.min_order_qty
        return is_too_small and not self.ignored and not self.foreign

    # Intents and incidents.

    def put(self, *intents: Intent) -> None:
        for intent in intents:
            self.intents[intent.link_id] = self._changed[intent.link_id] = intent
        self.end_entry_if_done()

    def note(self, incident: Incident) -> None:
        if incident.key not in self.noted:
            self.noted.add(incident.key)
            self._incidents.append(incident)

    def freeze(self, incident: Incident) -> None:
        """An answer to an earlier change that is not carried out yet does not count for this one."""
        self.note(incident)
        self.control = replace(self.control, frozen=True, answer=None)
        self._flags["freezes"] = True

    def fail(self) -> None:
        """A bar cannot be stepped: no entries until one is."""
        self.note(Incident("session_failed", f"failed:{self.last_bar}"))
        self.control = replace(self.control, failed=True)
        self._flags["fails"] = True

    def end(self) -> None:
        self._flags["ends"] = True

    def new_intent(
        self,
        leg: Leg,
        bar: datetime,
        side: Side,
        qty: Decimal,
        reason: Reason,
        now: datetime,
        *,
        price: Decimal | None = None,
        stop_loss: Decimal | None = None,
        send_before: datetime | None = None,
    ) -> Intent:
        """Return the next attempt of a leg. `side`: of the position."""
        attempt = max((each.attempt for each in self.of_leg(leg, bar)), default=0) + 1
        opens = leg == "entry"
        return Intent(
            intent_id=new_id(),
            link_id=link_id(self.facts.session_id, bar, leg, attempt),
            bar=bar,
            leg=leg,
            attempt=attempt,
            side="BUY" if opens == (side == "LONG") else "SELL",
            quantity=qty,
            price=price,
            stop_loss=stop_loss,
            reduce_only=not opens,
            reason=reason,
            strategy_hash=self.facts.strategy_hash,
            epoch=self._epoch,
            created_at=now,
            send_before=send_before,
        )

    # Steps.

    def step(self, bar: datetime, close: Decimal, outcome: StepOutcome, now: datetime) -> None:
        """Take over the step of a bar, with the intents of its decisions."""
        self._bar = self.last_bar = bar
        self._add(outcome)
        if self.control.failed:
            self._flags["recovers"] = True
        due = bar + timedelta(milliseconds=self.facts.interval_ms)
        intents = []
        for decision in outcome.decisions:
            if decision.outcome != "pending" or decision.qty is None:
                continue
            side, qty = decision.side, decision.qty
            if decision.kind == "exit":
                intents.append(self.new_intent("exit", bar, side, qty, decision.reason, now))
                continue
            # The exchange takes no stop together with a tolerance: it is set once the entry has filled.
            stop = self.execution.provisional_stop(close) if self.facts.tolerance is None else None
            before = due + self.facts.entry_deadline
            intents.append(
                self.new_intent("entry", bar, side, qty, "entry", now, stop_loss=stop, send_before=before)
            )
        self.put(*intents)

    # Executions.

    def book(self, execution: VenueExecution) -> None:
        """Book an execution once: as the session's fill, as funding, or as foreign."""
        if execution.execution_id in self.booked:
            return
        self.booked.add(execution.execution_id)
        if execution.fee_coin != SETTLE_COIN:
            self.note(
                Incident(
                    "fee_in_other_coin",
                    f"fee:{execution.execution_id}",
                    {"fee": str(execution.fee), "coin": execution.fee_coin},
                )
            )
        if execution.kind is ExecutionKind.FUNDING:
            self._bookings.append(Booking(execution, "funding", execution.quantity))
            return
        intent = self.intents.get(execution.link_id or "") or self._lost_intent(execution)
        rest: Rest = "entry" if intent is not None and intent.is_entry else "foreign"
        self._allocate(execution, execution.quantity, intent, rest)
        if intent is not None:
            self.put(_filled_by(intent, execution))
        self.end_entry_if_done()

    def _lost_intent(self, execution: VenueExecution) -> Intent | None:
        """Return the intent of an order of ours that closes the position, and that a restored database has lost."""
        link, position, stop = execution.link_id, self.execution.position, self.execution.desired_stop()
        if link is None or not is_ours(link) or link in self.intents:
            return None
        if position is None or side_of(execution.side) == position.side:
            return None
        entered, left = from_ms(position.entry_time), position.left
        lost: list[tuple[Leg, datetime, Decimal, Decimal | None, Reason]] = [
            (TARGET_LEGS[target.level], entered, target.qty, target.price, "take_profit")
            for target in self.execution.desired_targets()
        ]
        lost.append(("stop", entered, left, None, stop[1] if stop is not None else "manual"))
        lost.append(("flatten", from_ms(self.execution.opened_ms or position.entry_time), left, None, "manual"))
        for leg, bar, quantity, price, reason in lost:
            for attempt in range(1, MOST_LOST_ATTEMPTS + 1):
                if link_id(self.facts.session_id, bar, leg, attempt) == link:
                    quantity = max(quantity, execution.quantity)
                    new = self.new_intent(leg, bar, position.side, quantity, reason, execution.time, price=price)
                    return replace(new, attempt=attempt, link_id=link)
        return None

    def answer_foreign(self, unexplained: Decimal, foreign_orders: Iterable[str]) -> None:
        """Carry out the answer to a foreign change, and allow entries again.

        `unexplained`: by how much the position on the exchange differs from the executions; it is ignored.
        """
        rest: Rest = "entry" if self.control.answer == "adopt" else "ignored"
        foreign, self.foreign = self.foreign, []
        for booking in foreign:
            intent = self._lost_intent(booking.execution) if rest == "entry" else None
            self._allocate(booking.execution, booking.part, intent, rest)
            if intent is not None:
                self.put(_filled_by(intent, booking.execution))
        self.ignored += unexplained
        self._orders_ignored = tuple(foreign_orders)
        self.ignored_orders.update(self._orders_ignored)
        self._flags["thaws"] = True
        self.control = replace(self.control, frozen=False, answer=None)

    def _allocate(self, execution: VenueExecution, quantity: Decimal, intent: Intent | None, rest: Rest) -> None:
        """Split an execution into what reduces the ignored position, what closes ours, and the rest."""
        side = side_of(execution.side)
        left = quantity
        if intent is None and execution.origin not in OF_POSITION:
            left -= self._reduce_ignored(execution, side, left)
        position = self.execution.position
        if left and position is not None and position.side != side:
            part = min(left, position.left)
            self._fill(execution, "close", part, self._reason(execution, intent), intent)
            left -= part
        if left:
            left -= self._reduce_ignored(execution, side, left)
        if not left:
            return
        if rest == "entry":
            self._fill(execution, "entry", left, "entry", intent)
            return
        if rest == "ignored":
            self.ignored += signed(left, side)
            self._bookings.append(Booking(execution, "ignored", left))
            return
        booking = Booking(execution, "foreign", left)
        self.foreign.append(booking)
        self._bookings.append(booking)
        self.freeze(
            Incident(
                "foreign_change",
                f"execution:{execution.execution_id}",
                {"side": execution.side, "quantity": str(left), "price": str(execution.price)},
            )
        )

    def _reduce_ignored(self, execution: VenueExecution, side: Side, most: Decimal) -> Decimal:
        """Return how much of the execution reduces the position that is ignored."""
        if signed(self.ignored, side) >= ZERO:
            return ZERO
        part = min(most, abs(self.ignored))
        self.ignored += signed(part, side)
        self._bookings.append(Booking(execution, "ignored", part))
        return part

    def _fill(
        self,
        execution: VenueExecution,
        effect: Literal["entry", "close"],
        part: Decimal,
        reason: Reason,
        intent: Intent | None,
    ) -> None:
        time_ms, fee = self._bar_ms(execution, intent), self._fee(execution, part)
        link = intent.link_id if intent is not None else None
        if effect == "entry":
            self._add(self.execution.book_entry(time_ms, side_of(execution.side), part, execution.price, fee))
            self._bookings.append(Booking(execution, "entry", part, link, reason))
            return
        self._add(self.execution.book_close(time_ms, part, execution.price, fee, reason))
        self._bookings.append(Booking(execution, "close", part, link, reason))

    def _fee(self, execution: VenueExecution, part: Decimal) -> Decimal:
        """Return the fee of a part; a fee in another coin is not part of the trade."""
        if execution.fee_coin != SETTLE_COIN:
            return ZERO
        if part == execution.quantity:
            return execution.fee
        with exact():
            return quantised_quotient(execution.fee * part, execution.quantity)

    def _bar_ms(self, execution: VenueExecution, intent: Intent | None) -> int:
        if intent is not None and intent.leg == "flatten":
            return to_ms(intent.bar)
        return to_ms(execution.time) // self.facts.interval_ms * self.facts.interval_ms

    def _reason(self, execution: VenueExecution, intent: Intent | None) -> Reason:
        if execution.kind is ExecutionKind.LIQUIDATION:
            return "liquidation"
        if execution.kind is ExecutionKind.ADL:
            return "adl"
        if intent is not None and not intent.is_entry:
            return intent.reason
        stop = self.execution.desired_stop()
        if execution.origin in (OrderOrigin.STOP_LOSS, OrderOrigin.TRAILING_STOP) and stop is not None:
            return stop[1]
        return "manual"

    def end_entry_if_done(self) -> None:
        """End the pending entry whose order gets no further fill."""
        if self.execution.pending_entry is None:
            return
        entry = self.entry()
        if entry is None or entry.state.is_final:
            dropped = self.execution.end_entry()
            if entry is None or not entry.filled:
                self._add(dropped)

    def _add(self, outcome: StepOutcome) -> None:
        if not outcome.must_be_stored:
            return
        mine = self._outcome
        self._outcome = StepOutcome(
            mine.fills + outcome.fills,
            mine.trades + outcome.trades,
            mine.decisions + outcome.decisions,
            mine.level_spent or outcome.level_spent,
            mine.dropped or outcome.dropped,
        )


def signed(quantity: Decimal, side: Side | None) -> Decimal:
    return -quantity if side == "SHORT" else quantity


def side_of(order: OrderSide) -> Side:
    return "LONG" if order == "BUY" else "SHORT"


def _signed_part(booking: Booking) -> Decimal:
    return signed(booking.part, side_of(booking.execution.side))


def _filled_by(intent: Intent, execution: VenueExecution) -> Intent:
    with exact():
        filled = replace(
            intent,
            filled=intent.filled + execution.quantity,
            notional=intent.notional + execution.price * execution.quantity,
            fee=intent.fee + execution.fee,
            order_id=execution.order_id,
        )
    if intent.state.is_final:
        return filled
    if not filled.left:
        return filled.to(IntentState.FILLED)
    if intent.state is IntentState.PARTIALLY_FILLED:
        return filled
    return filled.to(IntentState.PARTIALLY_FILLED)
