"""Runs the orders of one live session: one task that steps its bars, reads its account, and carries out its plan.

Everything happens in sequence, so nothing needs a lock; the task may be cancelled at every await, and continues
from the database. It is level-triggered: a wake says that something may have happened, not what.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol

import structlog
from prometheus_client import Histogram

from services.trading.exchange.venue import (
    KeyRejected,
    LinkIdUsed,
    NotSent,
    OutcomeUnknown,
    Refused,
    StopPassed,
    Venue,
    VenueExecution,
    VenueUnavailable,
)
from services.trading.orders.account_readings import AccountReadings
from services.trading.orders.book import Book, SessionFacts
from services.trading.orders.intents import Intent, IntentState
from services.trading.orders.plan import (
    Answer,
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
    RefusedStop,
    Send,
    SetLeverage,
    SetStop,
    View,
    observe,
    refusal_of,
    stop_kind,
)
from services.trading.orders.planner import plan
from services.trading.orders.store import Incident, Loaded, Store
from shared.chassis.crash_points import point
from shared.chassis.infrastructure_faults import RETRYABLE_FAULTS
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.series import Series

LONGEST_GATE_S = 2.0  # between asking the gate and calling the exchange: a process that slept longer sends nothing
BARRIER_S = 5.0  # how long a close waits for the executions of its bar
OVERLAP = timedelta(minutes=10)  # executions are listed again, because they may be listed late
FORGET_EVERY = timedelta(days=1)
RETRY_S = 1.0
SHORTEST_WAIT_S = 0.01
FAULT_PAUSE_S = 0.5

UNPROTECTED = Histogram(
    "trading_position_unprotected_seconds",
    "How long a position was seen without a stop on the exchange, until it had one or was closed",
    buckets=(0.1, 0.5, 1, 2, 5, 10, 15, 30, 60, 300),
)

log = structlog.get_logger()


class CannotStep(Exception):
    """An error of ours prevents the step of a bar."""


class Bars(Protocol):
    """The session's series, and how the session steps through it: its guard, its limits, its refusals."""

    def next(self, after: datetime | None) -> tuple[Series, int] | None:
        """Return the next confirmed bar that the session has to step through, if it has come."""

    def restore(
        self, snapshot: Mapping[str, object] | None, last_bar: datetime | None, *, replays: bool = True
    ) -> ExchangeExecution:
        """Return the execution of a snapshot, if `replays` stepped through the quiet bars up to `last_bar`.

        Raises CannotStep if it cannot be, or decides something that is not stored.
        """

    def on_close(
        self, execution: ExchangeExecution, series: Series, index: int, refusal: str | None
    ) -> StepOutcome:
        """Step the close of a bar; `refusal` is the code that refuses entries, or None. Raises CannotStep."""

    def snapshot(self, execution: ExchangeExecution) -> Mapping[str, object]:
        """Return what is stored of the session."""


class SessionActor:
    """`run` ends when the lease is lost or the session has ended. A bar that cannot be stepped ends all decisions;
    what is on the exchange is still followed, protected, and closed on demand."""

    def __init__(
        self,
        facts: SessionFacts,
        store: Store,
        venue: Venue,
        readings: AccountReadings,
        bars: Bars,
        now: Callable[[], datetime],
        exchange_now: Callable[[], datetime] | None = None,
    ) -> None:
        """`readings`: of the account, for all its sessions. `now` is the exchange's time, but never goes back or
        stands; `exchange_now`, if it differs, may."""
        self._facts = facts
        self._store = store
        self._venue = venue
        self._readings = readings
        self._bars = bars
        self._now = now
        self._exchange_now = exchange_now or now
        self._woken = asyncio.Event()
        self._seen = Observations()
        self._decides = True  # False after a bar that cannot be stepped
        self._replays = True  # False after one that cannot be stepped again
        self.is_busy = True  # False while nothing is to be done until something happens

    def wake(self, *, account_changed: bool = True) -> None:
        """Look at once: after a message of the account's streams or a gap in them, or (`account_changed` False)
        after a bar or a change of what is demanded."""
        if account_changed:
            self._seen.is_outdated = True
        self.is_busy = True
        self._woken.set()

    @property
    def is_unprotected(self) -> bool:
        """Whether the exchange shows a position of the session without a stop."""
        return self._seen.unprotected_since is not None

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        reloaded_at = -RETRY_S
        while True:
            try:
                if not await self._load():
                    return
                while not await self._pass():
                    pass
                return
            except _MemoryBehind:
                if loop.time() < reloaded_at + RETRY_S:
                    await asyncio.sleep(FAULT_PAUSE_S)
                reloaded_at = loop.time()
            except RETRYABLE_FAULTS as error:
                log.warning("orders_restart", session_id=str(self._facts.session_id), error=repr(error))
                await asyncio.sleep(FAULT_PAUSE_S)

    async def _load(self) -> bool:
        self._seen = Observations()
        loaded = await self._store.load()
        if loaded is None:
            return False
        execution = self._restore(loaded)
        self._book = Book(self._facts, self._store.epoch, execution, loaded, is_behind=not self._replays)
        self._since = self._forgot_at = loaded.since
        self._read_at: datetime | None = None  # by the exchange's clock
        self._unbooked: list[VenueExecution] = []
        self._book.end_entry_if_done()
        if not self._decides and not loaded.control.failed:
            self._book.fail()
            await self._commit()
        return True

    def _restore(self, loaded: Loaded) -> ExchangeExecution:
        """Return the execution up to the last bar; if that cannot be had, as it was stored last."""
        if self._replays:
            try:
                return self._bars.restore(loaded.snapshot, loaded.last_bar)
            except CannotStep:
                self._decides = self._replays = False
        return self._bars.restore(loaded.snapshot, loaded.last_bar, replays=False)

    async def _pass(self) -> bool:
        """Do the next thing, or wait for it. Returns whether the session has ended."""
        self._woken.clear()
        self.is_busy = True
        control = await self._store.control()
        if control is None:
            raise _MemoryBehind
        self._book.control = control
        must_read = control.waits and self._seen.view is None  # before it decides again what was ordered already
        found = self._bars.next(self._book.last_bar) if self._decides and not must_read else None
        if found is not None:
            await self._step(*found)
        else:
            self._book_until(self._next_close() if control.waits else None)
        await self._commit()
        next_plan = plan(self._book, self._seen, self._now(), self._exchange_now())
        if next_plan.records:
            ends = self._apply(next_plan.records)
            await self._commit()
            return ends
        commands = [each for each in next_plan.commands if not self._unbooked or isinstance(each, Read | Ask)]
        if commands:
            await self._carry_out(commands[0])
        elif found is None:
            await self._sleep(next_plan)
        return False

    def _next_close(self) -> datetime | None:
        """Return the close of the bar after the last one. While a restored database is catching up, executions from
        then on wait for that bar's step, so that they find the orders that it decides."""
        last = self._book.last_bar
        return last + timedelta(milliseconds=2 * self._facts.interval_ms) if last is not None else None

    async def _sleep(self, next_plan: Plan) -> None:
        self.is_busy = next_plan.is_deferred or self._woken.is_set()
        try:
            async with asyncio.timeout(max(SHORTEST_WAIT_S, (next_plan.wake_at - self._now()).total_seconds())):
                await self._woken.wait()
        except TimeoutError:
            return

    # Bars.

    async def _step(self, series: Series, index: int) -> None:
        """Step the close of a bar, after booking the executions of the bar that the exchange lists."""
        bar = series.bar(index)
        opened = bar.open_time
        closes = opened + timedelta(milliseconds=self._facts.interval_ms)
        await self._await_executions(closes)
        self._book_until(closes)
        book = self._book
        try:
            outcome = self._bars.on_close(book.execution, series, index, book.control.refuses_entries)
        except CannotStep:
            self._decides = False
            raise _MemoryBehind from None
        book.step(opened, bar.close, outcome, self._now())

    async def _await_executions(self, closes: datetime) -> None:
        """Read the account as of this close, if an execution may have happened; give up after a while."""
        if not self._book.is_exposed or (self._read_at is not None and self._read_at >= closes):
            return
        try:
            async with asyncio.timeout(BARRIER_S):
                while not await self._read():
                    await asyncio.sleep(FAULT_PAUSE_S)
        except TimeoutError:
            self._seen.is_outdated = True  # the reading was cut off
            log.warning("executions_not_read", session_id=str(self._facts.session_id))

    # The account.

    async def _read(self) -> bool:
        """Read the account; its executions are booked later. Returns False if the exchange did not answer."""
        self._seen.is_outdated = False
        try:
            reading = await self._readings.take(self._facts.symbol, self._since)
        except (VenueUnavailable, KeyRejected) as error:
            self._seen.is_outdated = True
            self._back_off("read", error)
            return False
        known = {each.execution_id for each in self._unbooked} | self._book.booked
        new = [each for each in reading.executions if each.execution_id not in known]
        self._unbooked = sorted([*self._unbooked, *new], key=lambda each: each.time)
        self._since = max(self._since, reading.exchange_at - OVERLAP)
        self._read_at = reading.exchange_at
        self._seen.view = View(reading.at, reading.position, reading.orders)
        if self._since >= self._forgot_at + FORGET_EVERY:
            self._forgot_at = self._since
            self._book.forget()
            self._seen.forget(self._book.intents, self._now())
        return True

    def _book_until(self, closes: datetime | None) -> None:
        """Book the executions before this time; None: all, as no bar awaits its step."""
        while self._unbooked and (closes is None or self._unbooked[0].time < closes):
            self._book.book(self._unbooked.pop(0))
        seen = self._seen
        seen.awaited = frozenset(each.link_id for each in self._unbooked if each.link_id is not None)
        if seen.view is not None and not self._unbooked:
            since = seen.unprotected_since
            observe(seen, self._book, seen.view)
            if since is not None and seen.unprotected_since is None:
                UNPROTECTED.observe((seen.view.at - since).total_seconds())

    # Records.

    async def _commit(self) -> None:
        change = self._book.take_change(lambda: self._bars.snapshot(self._book.execution))
        if change is None:
            return
        point("orders.before_commit")
        committed = await self._store.commit(change)
        point("orders.after_commit")
        if committed is None:
            raise _MemoryBehind
        for link in committed.refused:
            self._book.put(self._book.intents[link].to(IntentState.DROPPED))

    def _apply(self, records: list[Recorded]) -> bool:
        """Enter the records in the book. Returns whether the session ends with them."""
        book = self._book
        for record in records:
            match record:
                case Record(intent):
                    book.put(intent)
                case Note(incident):
                    book.note(incident)
                case Freeze(incident):
                    book.freeze(incident)
                case AnswerForeign(unexplained, order_ids):
                    book.answer_foreign(unexplained, order_ids)
                case End():
                    book.end()
        return any(isinstance(record, End) for record in records)

    # Commands.

    async def _carry_out(self, command: Command) -> None:
        match command:
            case Read():
                await self._read()
            case Send(intent):
                await self._send(intent)
            case Ask(intent):
                await self._ask(intent)
            case Cancel(link_id):
                await self._cancel(link_id)
            case SetStop(price):
                await self._set_stop(price)
            case SetLeverage(leverage):
                await self._set_leverage(leverage)

    async def _send(self, intent: Intent) -> None:
        loop = asyncio.get_running_loop()
        asked_at, sent_at = loop.time(), self._exchange_now()
        passed = await self._store.pass_gate([intent.link_id], sent_at)
        if passed is None or intent.link_id not in passed:
            raise _MemoryBehind
        point("orders.after_gate")
        intent = intent.to(IntentState.SENDING, sent_at=sent_at)
        self._seen.sent[intent.link_id] = self._now()
        if loop.time() - asked_at > LONGEST_GATE_S:
            self._book.put(intent.to(IntentState.INTENT))
            return
        intent = await self._create(intent)
        point("orders.after_send")
        self._book.put(intent)
        self._seen.is_outdated = True

    async def _create(self, intent: Intent) -> Intent:
        """Call the exchange; returns the intent with the outcome."""
        until, facts = self._send_until(intent), self._facts
        order = intent.order(facts.symbol, facts.tolerance, until, closes_all=self._book.closes_all(intent))
        try:
            order_id = await self._venue.create_order(order)
        except (LinkIdUsed, OutcomeUnknown):
            return intent.to(IntentState.UNKNOWN)
        except Refused as refused:
            if isinstance(refused, KeyRejected):
                self._note_key(refused)
            if intent.is_entry or intent.attempt > 1:  # a first close may only be late
                self._book.note(refusal_of(intent, refused.message, refused.code))
            return intent.to(IntentState.REJECTED, venue_code=refused.code, venue_message=refused.message)
        except NotSent as error:
            self._back_off(f"send:{intent.leg}", error)
            return intent.to(IntentState.INTENT)
        return intent.to(IntentState.ACKED, order_id=order_id)

    def _send_until(self, intent: Intent) -> float | None:
        """Return when the intent is late, by the loop's clock; None: never."""
        if intent.send_before is None:
            return None
        left = intent.send_before - self._exchange_now()
        return asyncio.get_running_loop().time() + left.total_seconds()

    async def _ask(self, intent: Intent) -> None:
        at = self._now()
        try:
            order = await self._venue.find_order(self._facts.symbol, intent.link_id)
        except (VenueUnavailable, KeyRejected) as error:
            self._back_off(f"ask:{intent.link_id}", error)
            return
        self._seen.answers[intent.link_id] = Answer(at, order)
        if order is not None and order.filled != intent.filled:
            self._seen.is_outdated = True

    async def _cancel(self, link_id: str) -> None:
        """Cancel an order; whether it was filled instead shows when the account is read."""
        self._wait(f"cancel:{link_id}", RETRY_S)
        try:
            await self._venue.cancel_order(self._facts.symbol, link_id)
        except (Refused, NotSent, OutcomeUnknown) as error:
            self._back_off(f"cancel:{link_id}", error)
        self._seen.is_outdated = True

    async def _set_stop(self, price: Decimal) -> None:
        try:
            await self._venue.set_stop(self._facts.symbol, price)
        except KeyRejected as error:
            self._back_off(stop_kind(price), error)
        except Refused as refused:
            self._note_refused_stop(price, refused)
        except (NotSent, OutcomeUnknown) as error:
            self._back_off(stop_kind(price), error)
        else:
            self._adjust_position(stop_loss=price)
            self._wait(stop_kind(price), RETRY_S)
        self._seen.is_outdated = True

    def _note_refused_stop(self, price: Decimal, refused: Refused) -> None:
        seen, execution = self._seen, self._book.execution
        seen.stop_refused = RefusedStop(price, self._now(), isinstance(refused, StopPassed))
        stands = seen.view is not None and seen.view.position.stop_loss is not None
        detail = {"price": str(price), "code": str(refused.code), "message": refused.message}
        if stands and not seen.stop_refused.is_passed and execution.position is not None:
            self._book.note(Incident("stop_not_moved", f"stop:{execution.position.entry_time}", detail))
        else:
            self._book.note(Incident("stop_refused", f"stop:{price}:{execution.opened_ms}", detail))

    async def _set_leverage(self, leverage: Decimal) -> None:
        try:
            await self._venue.set_leverage(self._facts.symbol, leverage)
        except (Refused, NotSent, OutcomeUnknown) as error:
            self._back_off("leverage", error)
            if isinstance(error, Refused):
                detail = {"leverage": str(leverage), "code": str(error.code), "message": error.message}
                self._book.note(Incident("leverage_refused", f"leverage:{self._book.last_bar}", detail))
        else:
            self._adjust_position(leverage=leverage)

    def _adjust_position(self, **changes: Decimal) -> None:
        """Enter an accepted setting in the view, so that it is not repeated until the exchange shows it."""
        view = self._seen.view
        if view is not None:
            position = replace(view.position, **changes)  # type: ignore[arg-type]
            self._seen.view = replace(view, position=position, is_assumed=True)

    # Back-off.

    def _back_off(self, kind: str, error: Exception) -> None:
        log.warning("exchange_call_failed", session_id=str(self._facts.session_id), call=kind, error=repr(error))
        wait_s = error.wait_s if isinstance(error, NotSent) else 0
        if isinstance(error, KeyRejected):
            self._note_key(error)
            wait_s = 60
        self._wait(kind, max(wait_s, RETRY_S))

    def _wait(self, kind: str, seconds: float) -> None:
        self._seen.not_before[kind] = self._now() + timedelta(seconds=seconds)

    def _note_key(self, error: KeyRejected) -> None:
        detail = {"code": str(error.code), "message": error.message}
        day = self._exchange_now().date()
        self._book.note(Incident("key_rejected", f"key:{error.code}:{day}", detail))


class _MemoryBehind(Exception):
    """The database has another state of the session, or another worker has it."""
