"""The database as the orders of a session need it, under the session's lease.

One `Store` serves one session under one lease (its epoch is the store's own). Each method is one transaction. A
method that returns None has changed nothing: the lease is lost, or memory is behind the database; the caller loads
again, and ends if `load` returns None too. An infrastructure fault is raised; then a `commit` or a `pass_gate` may
have happened, and the caller loads again as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol

from services.trading.exchange.venue import VenueExecution
from services.trading.orders.intents import Intent
from shared.strategy.execution.outcome import NO_OUTCOME, Reason, StepOutcome

FreezeAnswer = Literal["adopt", "ignore"]


@dataclass(frozen=True, slots=True)
class Control:
    """The demands of people and limits on the session; read often, so it must be cheap to read.

    `refusal`: the code that refuses entries (`paused`, `plan_limit`, `kill_switch`, `account_risk`,
    `platform_frozen`, …), or None. `flatten`: the reason with which everything is closed, or None. `ends`: the
    session ends once it is flat (a stop); without it, a kill switch that flattens leaves the session running.
    `waits`: the account is not reconciled since the database was started or restored: entries wait at the gate, and
    the database may lack what was ordered.
    `frozen`: a foreign change is recorded that a person has to answer; `answer` is their answer, until a `Change`
    carries `thaws`. `failed`: a bar could not be stepped, and none has been since.
    """

    refusal: str | None = None
    flatten: Reason | None = None
    ends: bool = False
    waits: bool = False
    frozen: bool = False
    answer: FreezeAnswer | None = None
    failed: bool = False

    @property
    def refuses_entries(self) -> str | None:
        """Return the code with which entries are refused, or None."""
        own = "frozen" if self.frozen else "session_failed" if self.failed else None
        return self.refusal or self.flatten or own


@dataclass(frozen=True, slots=True)
class Booking:
    """An execution on the session's symbol, and what the session made of it.

    `entry` and `close` are fills of the session, and are in the `outcome` of the same `Change`. `funding` is booked
    apart. `foreign` awaits a person's answer; `adopted` and `ignored` are foreign ones that were answered, and
    update their row. `part` is the quantity that this booking is about: an execution that closes the session's
    position and opens another has two bookings. `link_id`: of the session's intent, if it is the order of one.
    """

    execution: VenueExecution
    effect: Literal["entry", "close", "funding", "foreign", "ignored"]
    part: Decimal
    link_id: str | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Incident:
    """Something that the tenant is notified of. A store records each `key` of a session once.

    Kinds: `order_refused`, `unprotected`, `stop_refused`, `stop_not_moved`, `foreign_change`, `leverage_refused`,
    `key_rejected`, `fee_in_other_coin`, `entry_stale`, `unknown_order`, `session_failed`, `taken_over`. `detail` is
    shown: the exchange's words, a quantity, …
    """

    kind: str
    key: str
    detail: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One transaction of a session: everything or nothing.

    `bar`: the session has stepped through this bar, the one after the cursor; `outcome` has its decisions. None:
    the cursor stays, and `outcome` has fills and trades of `bookings`. `snapshot`: the execution after the change.
    `intents`: each as it is now; inserted or updated by `link_id`. `ignored`: see `Loaded`, after the change.

    A change with a bar, no outcome, no intents and no bookings is a quiet step: it need not store the snapshot.
    """

    snapshot: Mapping[str, object]
    bar: datetime | None = None
    outcome: StepOutcome = NO_OUTCOME
    intents: tuple[Intent, ...] = ()
    bookings: tuple[Booking, ...] = ()
    incidents: tuple[Incident, ...] = ()
    ignored: Decimal = Decimal(0)
    freezes: bool = False
    thaws: bool = False
    fails: bool = False  # a bar cannot be stepped: no entries until one is
    recovers: bool = False
    ignored_orders: tuple[str, ...] = ()  # ids of foreign orders that a person's answer lets stand
    ends: bool = False  # the stop is done: flat, and no order of the session is open

    @property
    def alters_lease(self) -> bool:
        return self.ends or self.freezes or self.thaws or self.fails or self.recovers


@dataclass(frozen=True, slots=True)
class Committed:
    """`refused`: entry intents that a limit checked in this transaction refused (`max_trades_per_month`, …), with
    the limit's code. They are stored as DROPPED, and their decisions as refused."""

    refused: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded:
    """A session as committed.

    `intents`: those not final; those of the open trade (from its entry's `bar` on, final or not); and those that
    changed within the last day, because executions of final intents may still come. `since`: the time from which
    executions may be missing: an hour before the last one recorded, or the session's start. `booked`: the ids of
    the executions recorded from then on, foreign ones included. `foreign`: the bookings without an answer.
    `ignored`: the quantity on the exchange that is not the session's by a person's answer; negative if short.
    """

    snapshot: Mapping[str, object] | None
    last_bar: datetime | None
    control: Control
    since: datetime
    intents: tuple[Intent, ...] = ()
    booked: frozenset[str] = frozenset()
    foreign: tuple[Booking, ...] = ()
    ignored: Decimal = Decimal(0)
    ignored_orders: frozenset[str] = frozenset()


class Store(Protocol):
    """The database as one session needs it, under the epoch of its lease."""

    @property
    def epoch(self) -> int: ...

    async def load(self) -> Loaded | None:
        """Return the session as committed; None if the lease is lost or the session has ended."""

    async def control(self) -> Control | None:
        """Return what is demanded of the session; None if the lease is lost or the session has ended."""

    async def pass_gate(self, link_ids: Sequence[str], now: datetime) -> frozenset[str] | None:
        """Move intents from INTENT to SENDING with `sent_at` = now, in one statement. Returns those moved.

        Only under the lease, and an entry only while `Control` allows entries (no refusal, not frozen, no flatten):
        after the commit of a kill switch, no entry passes. None passes either while the account is not reconciled
        (`Control.waits`). Only an intent that was returned may be sent.
        None: the lease is lost.
        """

    async def commit(self, change: Change) -> Committed | None:
        """Write the change, fenced by the epoch.

        None: nothing was written, because the lease is lost, the cursor is not the bar before `bar`, an execution
        is recorded already, or a step was taken under entries that are no longer allowed."""
