"""The planner: compares a session's book with its account on the exchange, and returns what is missing. Pure.

It remembers nothing of what was done before: the same function continues after a crash, on the state as committed.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.trading.exchange.venue import VenueOrder
from services.trading.orders.book import OF_POSITION, Book
from services.trading.orders.intents import (
    NOT_FOUND_WINDOW,
    STATE_OF_STATUS,
    TARGET_LEGS,
    Intent,
    IntentState,
    Leg,
)
from services.trading.orders.plan import (
    AnswerForeign,
    Ask,
    Cancel,
    Command,
    End,
    Freeze,
    Note,
    Observations,
    Plan,
    Read,
    Record,
    Recorded,
    Send,
    SetLeverage,
    SetStop,
    View,
    refusal_of,
    stop_kind,
)
from services.trading.orders.store import Incident
from shared.contracts.types import from_ms
from shared.strategy.decimals import ZERO
from shared.strategy.execution.outcome import Position, Reason

RECONCILE_EVERY = timedelta(seconds=60)
SETTLE = timedelta(seconds=10)
"""How long the exchange may contradict itself or its executions before the difference counts."""
UNPROTECTED = timedelta(seconds=5)
UNPROTECTED_CLOSES = timedelta(seconds=15)
SHORTEST_LEAD = timedelta(seconds=2)
FRESH = timedelta(seconds=10)
"""How old the view may be, when an entry is decided, to send it."""
FIRST_POLL, LONGEST_POLL = timedelta(milliseconds=200), timedelta(seconds=10)
LONGEST_BACKOFF = timedelta(seconds=60)
FORGOTTEN = timedelta(days=7)
"""How long the exchange lists an order that ended without a fill."""
MAX_TARGET_ATTEMPTS = 5


def plan(book: Book, seen: Observations, now: datetime, exchange_now: datetime) -> Plan:
    """`now` never goes back, and measures waits; entries are late by `exchange_now`, the exchange's clock."""
    planner = _Planner(book, seen, now, exchange_now)
    planner.run()
    return planner.plan


class _Planner:
    def __init__(self, book: Book, seen: Observations, now: datetime, exchange_now: datetime) -> None:
        self.book = book
        self.seen = seen
        self.now = now
        self.exchange_now = exchange_now
        self.plan = Plan(now + RECONCILE_EVERY)

    def run(self) -> None:
        self._restrict_entry()
        self._resolve_interrupted()
        view = self.seen.view
        if view is None:
            self._command(Read(), "read")
            return
        due = self._next_reading(view)
        if self.seen.is_outdated or due <= self.now:
            self._command(Read(), "read")
        else:
            self._look_again(due)
        self._resolve_sent(view)
        self._watch_foreign(view)
        position = self.book.execution.position
        if position is None:
            self._keep_flat(view)
        else:
            self._keep_position(view, position)
        if self.book.control.ends and not self.book.control.waits:
            self._end(view)

    def _next_reading(self, view: View) -> datetime:
        """Return when to read the account without a cause: every minute, and shortly before the next close, so that
        an entry need not wait for it. The sessions of an account read together, accounts at different times."""
        due = view.at + RECONCILE_EVERY
        facts, last_bar = self.book.facts, self.book.last_bar
        if last_bar is None:
            return due
        lead = SHORTEST_LEAD + timedelta(milliseconds=facts.account_id.int % 6000)
        before_close = last_bar + timedelta(milliseconds=2 * facts.interval_ms) - lead
        return min(due, before_close) if view.at < before_close else due

    # Output.

    def _record(self, record: Recorded) -> None:
        self.plan.records.append(record)

    def _note(self, incident: Incident) -> None:
        if incident.key not in self.book.noted:
            self._record(Note(incident))

    def _move(self, intent: Intent, state: IntentState, **changes: object) -> None:
        self._record(Record(intent.to(state, **changes)))

    def _command(self, command: Command, kind: str, *, not_before: datetime | None = None) -> None:
        """Carry out the command now, or when its back-off is over."""
        times = [each for each in (not_before, self.seen.not_before.get(kind)) if each is not None]
        due = max(times, default=self.now)
        if due <= self.now:
            self.plan.commands.append(command)
        else:
            self._wake(due)

    def _wake(self, at: datetime) -> None:
        """Plan again at this time: something that is to be done is due then."""
        self._look_again(at)
        self.plan.is_deferred = True

    def _look_again(self, at: datetime) -> None:
        self.plan.wake_at = min(self.plan.wake_at, at)

    # Intents.

    def _restrict_entry(self) -> None:
        """Drop an entry that is not allowed any more, whatever the exchange shows."""
        control, entry = self.book.control, self.book.entry()
        if entry is None or entry.state is not IntentState.INTENT:
            return
        if control.waits and (self.seen.view is None or entry.link_id in self.seen.awaited):
            return  # a restored database decides again what was sent long ago
        if control.refuses_entries is not None:
            self._move(entry, IntentState.DROPPED)
        elif entry.send_before is not None and self.exchange_now > entry.send_before:
            self._move(entry, IntentState.STALE)
            detail = {"message": "its account was not reconciled in time"} if control.waits else {}
            self._note(Incident("entry_stale", f"stale:{entry.link_id}", detail))
        elif entry.send_before is not None:
            self._look_again(entry.send_before + timedelta(milliseconds=1))

    def _resolve_interrupted(self) -> None:
        """An intent that is loaded as SENDING was sent or not: another worker passed the gate with it."""
        for intent in self.book.intents.values():
            if intent.state is IntentState.SENDING:
                self._move(intent, IntentState.UNKNOWN)

    def _resolve_sent(self, view: View) -> None:
        """Follow the orders that may be open: in the open orders, else by asking for each."""
        for intent in list(self.book.intents.values()):
            order = view.order(intent.link_id)
            if order is not None and view.at > self._sent_at(intent):
                if intent.state in (IntentState.UNKNOWN, IntentState.INTENT):
                    self._move(intent, IntentState.ACKED, order_id=order.order_id)
                elif intent.state.is_final:
                    self._cancel(intent)
            elif intent.state.was_sent:
                self._resolve_missing(intent, view)

    def _sent_at(self, intent: Intent) -> datetime:
        return self.seen.sent.get(intent.link_id) or intent.sent_at or intent.created_at

    def _resolve_missing(self, intent: Intent, view: View) -> None:
        sent = self._sent_at(intent)
        answer = self.seen.answers.get(intent.link_id)
        if answer is None or answer.at <= sent:
            self._command(Ask(intent), f"ask:{intent.link_id}", not_before=sent + FIRST_POLL)
            return
        again = answer.at + min(max(FIRST_POLL, (answer.at - sent) / 2), LONGEST_POLL)
        order = answer.order
        if order is None:
            if intent.state is IntentState.UNKNOWN and answer.at >= sent + NOT_FOUND_WINDOW:
                self._move(intent, IntentState.INTENT)
                return
            if answer.at >= sent + FORGOTTEN and self.seen.differs_since is None:
                self._move(intent, IntentState.CANCELLED)
                return
            if answer.at >= sent + 6 * NOT_FOUND_WINDOW:
                self._note(Incident("unknown_order", f"unknown:{intent.link_id}", {"leg": intent.leg}))
        elif order.status.is_open and intent.state is IntentState.UNKNOWN:
            self._move(intent, IntentState.ACKED, order_id=order.order_id)
            return
        elif not order.status.is_open and (order.filled == intent.filled or self._agrees(view, order)):
            self._close_intent(intent, order)
            return
        else:  # the account was read before it showed the order, or before its executions came
            self._command(Read(), "read", not_before=max(again, view.at + FIRST_POLL))
        self._command(Ask(intent), f"ask:{intent.link_id}", not_before=again)

    def _agrees(self, view: View, order: VenueOrder) -> bool:
        """Return whether book and account agree although executions of a closed order are not its intent's: they
        were booked before a restored database decided it again."""
        is_settled = view.at >= order.updated_at + SETTLE
        return is_settled and not self.seen.awaited and self.seen.differs_since is None

    def _close_intent(self, intent: Intent, order: VenueOrder) -> None:
        state = STATE_OF_STATUS[order.status]
        if state is IntentState.REJECTED and intent.filled:
            state = IntentState.CANCELLED
        is_demanded = self.book.control.ends or self.book.control.flatten is not None
        unfilled = intent.is_entry and not intent.filled and order.reason is not None and not is_demanded
        if state is IntentState.REJECTED or unfilled:
            self._note(refusal_of(intent, order.reason or "rejected"))
        self._move(intent, state, order_id=order.order_id, venue_message=order.reason)

    def _send(self, intent: Intent, quantity: Decimal | None = None) -> None:
        if quantity is not None and quantity != intent.quantity:
            self._record(Record(replace(intent, quantity=quantity)))
        else:
            self._command(Send(intent), f"send:{intent.leg}")

    def _cancel(self, intent: Intent) -> None:
        self._command(Cancel(intent.link_id), f"cancel:{intent.link_id}")

    # Foreign changes.

    def _watch_foreign(self, view: View) -> None:
        """While the account is not reconciled, what looks foreign may be what a restored database has lost."""
        control = self.book.control
        if control.waits:
            return
        orders = [order for order in view.orders if self._is_foreign(order)]
        since = self.seen.differs_since
        differs = since is not None and view.at >= since + SETTLE
        if since is not None:
            self._command(Read(), "read", not_before=view.at + timedelta(seconds=1))
        if control.frozen:
            if control.answer is not None:
                unexplained = view.signed_position - self.book.expected_position if differs else ZERO
                if since is None or differs:
                    self._record(AnswerForeign(unexplained, tuple(order.order_id for order in orders)))
            return
        for order in orders:
            detail = {"side": order.side, "quantity": str(order.quantity), "order_id": order.order_id}
            self._record(Freeze(Incident("foreign_change", f"order:{order.order_id}", detail)))
        if differs and since is not None:
            detail = {"expected": str(self.book.expected_position), "found": str(view.signed_position)}
            self._record(Freeze(Incident("foreign_change", f"position:{since.isoformat()}", detail)))

    def _is_foreign(self, order: VenueOrder) -> bool:
        if order.origin in OF_POSITION or not order.status.is_open:
            return False
        return order.link_id not in self.book.intents and order.order_id not in self.book.ignored_orders

    # Flat.

    def _keep_flat(self, view: View) -> None:
        entry = self.book.entry()
        for intent in self.book.intents.values():
            if intent.is_entry:
                continue
            if intent.state is IntentState.INTENT:
                self._move(intent, IntentState.DROPPED)
            elif intent.state.was_sent and view.order(intent.link_id) is not None:
                self._cancel(intent)
        self._cancel_entry_if_flattening(view)
        if entry is not None and entry.state is IntentState.INTENT and not self.plan.records:
            self._enter(view, entry)

    def _cancel_entry_if_flattening(self, view: View) -> None:
        entry, control = self.book.entry(), self.book.control
        if entry is None or (control.flatten is None and not control.ends):
            return
        if view.order(entry.link_id) is not None:
            self._cancel(entry)

    def _enter(self, view: View, entry: Intent) -> None:
        """Send the entry if the account is flat, nothing else of ours is open, and the leverage is right.

        A foreign position that is ignored holds entries back too: the exchange would merge the two.
        """
        if self.book.control.waits:
            return
        leverage = self.book.facts.leverage
        if self.book.execution.equity <= ZERO:
            self._move(entry, IntentState.DROPPED)
        elif view.at < entry.created_at - FRESH:
            self._command(Read(), "read")
        elif self.seen.is_outdated or view.signed_position or self._others_open(entry):
            self._command(Read(), "read", not_before=view.at + FIRST_POLL)
        elif view.position.leverage != leverage:
            self._command(SetLeverage(leverage), "leverage")
        else:
            self._send(entry)

    def _others_open(self, entry: Intent) -> bool:
        return any(intent.state.was_sent for intent in self.book.intents.values() if intent is not entry)

    # In a position.

    def _keep_position(self, view: View, position: Position) -> None:
        on_exchange = view.position.side == position.side
        self._cancel_entry_if_flattening(view)
        closing = self._reason_to_close(view)
        if self._follow_closing(view, position, closing):
            return
        if not on_exchange:
            self._command(Read(), "read", not_before=view.at + FIRST_POLL)
            return
        self._protect(view)
        if not self.book.execution.pending:
            self._keep_targets(position)

    def _reason_to_close(self, view: View) -> Reason | None:
        """Return why the whole position is to be closed at once by a new order, if it is."""
        book = self.book
        if book.control.flatten is not None:
            return book.control.flatten
        desired = book.execution.desired_stop()
        if desired is None:
            if book.execution.pending_entry is not None:
                return None
            self._note(Incident("unprotected", f"no_stop:{book.execution.opened_ms}"))
            return "manual"
        refused = self.seen.stop_refused
        if refused is not None and refused.price == desired[0] and refused.closes(view):
            return desired[1]
        since = self.seen.unprotected_since
        if since is not None and view.at >= since + UNPROTECTED_CLOSES:
            return desired[1]
        return book.execution.pending_exit

    def _follow_closing(self, view: View, position: Position, reason: Reason | None) -> bool:
        """Have one order that closes the whole position. Returns whether the position is about to be closed."""
        under_way = self.book.closing()
        for intent in under_way:
            if self.book.control.flatten is not None and intent.leg != "flatten":
                self._withdraw(view, intent)
            elif intent.state is IntentState.INTENT and self._may_close(view, position):
                self._send(intent, position.left)
        if under_way or reason is None:
            return bool(under_way)
        book, control = self.book, self.book.control
        leg: Leg = "stop"
        bar, exit_bar = from_ms(position.entry_time), self._exit_bar()
        if control.flatten is not None:
            leg, bar = "flatten", from_ms(book.execution.opened_ms or position.entry_time)
        elif reason == book.execution.pending_exit and exit_bar is not None:
            leg, bar = "exit", exit_bar
        if self._is_backed_off(book.of_leg(leg, bar)):
            return leg != "stop"
        new = book.new_intent(leg, bar, position.side, position.left, reason, self.now)
        self._record(Record(new))
        return True

    def _withdraw(self, view: View, intent: Intent) -> None:
        """Drop an order that was not sent, and cancel one that rests: another takes its place."""
        if intent.state is IntentState.INTENT:
            self._move(intent, IntentState.DROPPED)
        elif view.order(intent.link_id) is not None:
            self._cancel(intent)

    def _exit_bar(self) -> datetime | None:
        """Return the bar of the pending exit decision: that of its last order."""
        exits = [intent.bar for intent in self.book.intents.values() if intent.leg == "exit"]
        return max(exits, default=None)

    def _may_close(self, view: View, position: Position) -> bool:
        """Return whether the exchange shows something to close; a contradiction is waited for."""
        if view.position.side == position.side:
            return True
        since = self.seen.differs_since
        return view.position.side is None and since is not None and self.now >= since + SETTLE

    def _is_backed_off(self, attempts: list[Intent]) -> bool:
        """Return whether it is too early for a new attempt after the last one."""
        if not attempts:
            return False
        last = attempts[-1]
        due = self._sent_at(last) + min(timedelta(seconds=2 ** min(len(attempts) - 1, 6)), LONGEST_BACKOFF)
        if due > self.now:
            self._wake(due)
        return due > self.now

    def _protect(self, view: View) -> None:
        """Have the stop on the exchange: exactly once the entry is done, until then any."""
        desired = self.book.execution.desired_stop()
        current = view.position.stop_loss
        since = self.seen.unprotected_since
        if since is not None:
            if self.now >= since + UNPROTECTED:
                key = f"unprotected:{since.isoformat()}"
                self._note(Incident("unprotected", key, {"position": str(view.signed_position)}))
            for limit in (UNPROTECTED, UNPROTECTED_CLOSES):
                if since + limit > self.now:
                    self._wake(since + limit)
            if view.at < since + UNPROTECTED_CLOSES <= self.now:
                self._command(Read(), "read", not_before=view.at + FIRST_POLL)
        if desired is None or desired[0] == current or (self.book.is_behind and current is not None):
            return
        if self.book.execution.pending_exit is not None and current is not None:
            return
        if self.book.execution.pending_entry is not None and current is not None:
            return
        refused = self.seen.stop_refused
        if refused is None or refused.price != desired[0]:
            self._command(SetStop(desired[0]), stop_kind(desired[0]))
        elif view.at <= refused.at:
            self._command(Read(), "read", not_before=view.at + FIRST_POLL)

    def _keep_targets(self, position: Position) -> None:
        bar, unplaced = from_ms(position.entry_time), position.left
        least = self.book.facts.min_order_qty
        for target in self.book.execution.desired_targets():
            attempts = self.book.of_leg(TARGET_LEGS[target.level], bar)
            filled = sum((intent.filled for intent in attempts), ZERO)
            resting = next((intent for intent in attempts if not intent.state.is_final), None)
            if resting is not None:
                if resting.state is IntentState.INTENT:
                    self._send(resting)
                unplaced -= resting.left
                continue
            qty = min(target.qty - filled, unplaced)
            if qty < least or qty <= ZERO or len(attempts) >= MAX_TARGET_ATTEMPTS:
                continue
            unplaced -= qty
            if self._is_backed_off(attempts):
                continue
            new = self.book.new_intent(
                TARGET_LEGS[target.level],
                bar,
                position.side,
                qty,
                "take_profit",
                self.now,
                price=target.price,
            )
            self._record(Record(new))

    # The end of a session.

    def _end(self, view: View) -> None:
        if self.plan.records or self.seen.is_outdated or self.book.execution.position is not None:
            return
        ours = [order for order in view.orders if order.link_id in self.book.intents and order.status.is_open]
        finished = all(intent.state.is_final for intent in self.book.intents.values())
        if finished and not ours and self.seen.differs_since is None:
            self._record(End())
