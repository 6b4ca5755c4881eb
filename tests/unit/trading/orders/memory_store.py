"""A database in memory: each method is a transaction, fenced by the epoch; and processes that die and freeze."""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from services.trading.orders.intents import TRANSITIONS, Intent, IntentState
from services.trading.orders.store import Booking, Change, Committed, Control, Loaded
from shared.contracts.types import EPOCH
from shared.strategy.execution.outcome import Decision, Fill, Trade
from tests.unit.trading.orders.virtual_time import VirtualLoop

MOST_AWAITS = 20_000


class Killed(BaseException):
    """The process is gone: nothing that it would do next happens."""


@dataclass
class Process:
    """One worker process. `kill_at`: the number of the await at which it dies."""

    loop: VirtualLoop
    draw: random.Random
    kill_at: int | None = None
    outage: float = 0  # probability that a transaction fails, having happened or not
    points: int = 0
    frozen_until: float = 0
    killed: bool = False
    at_gate: Callable[[], None] | None = None  # what happens to it once it has passed the gate

    async def point(self, *, switches: bool = True) -> None:
        """An await at which the process may die or freeze, and by default others run."""
        self.points += 1
        if self.points == self.kill_at:
            self.killed = True
        assert self.points < MOST_AWAITS, "the actor is busy without end"
        if switches:
            await asyncio.sleep(0)
        while self.loop.time() < self.frozen_until:
            await asyncio.sleep(self.frozen_until - self.loop.time())
        if self.killed:
            raise Killed

    def fail(self) -> None:
        if self.draw.random() < self.outage:
            raise ConnectionResetError


@dataclass
class Database:
    """What is committed of one session; and, for the proof, a log of the gate."""

    control: Control = field(default_factory=Control)
    epoch: int = 0
    ended: bool = False
    ended_at: datetime | None = None
    snapshot: dict[str, object] | None = None
    last_bar: datetime | None = None
    intents: dict[str, Intent] = field(default_factory=dict)
    bookings: dict[str, list[Booking]] = field(default_factory=dict)
    ignored: Decimal = Decimal(0)
    ignored_orders: set[str] = field(default_factory=set)
    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    incidents: dict[str, str] = field(default_factory=dict)
    passes: list[tuple[str, int, float]] = field(default_factory=list)
    stepped: list[datetime] = field(default_factory=list)
    answers: list[str | None] = field(default_factory=list)  # of people, to foreign changes
    refuse_entries: int = 0  # so many of the next entries are refused by a limit

    def demand(self, **changes: object) -> None:
        self.control = replace(self.control, **changes)  # type: ignore[arg-type]


class MemoryStore:
    def __init__(self, database: Database, epoch: int, process: Process) -> None:
        self.database = database
        self.epoch = epoch
        self._process = process

    @property
    def _is_lost(self) -> bool:
        return self.epoch != self.database.epoch or self.database.ended

    async def load(self) -> Loaded | None:
        await self._process.point()
        self._process.fail()
        db = self.database
        if self._is_lost:
            return None
        foreign = [each for booked in db.bookings.values() for each in booked if each.effect == "foreign"]
        times = [booked[0].execution.time for booked in db.bookings.values()]
        return Loaded(
            snapshot=db.snapshot,
            last_bar=db.last_bar,
            control=db.control,
            since=max(times) - timedelta(hours=1) if times else EPOCH,
            intents=tuple(db.intents.values()),
            booked=frozenset(db.bookings),
            foreign=tuple(foreign),
            ignored=db.ignored,
            ignored_orders=frozenset(db.ignored_orders),
        )

    async def control(self) -> Control | None:
        await self._process.point()
        self._process.fail()
        return None if self._is_lost else self.database.control

    async def pass_gate(self, link_ids: Sequence[str], now: datetime) -> frozenset[str] | None:
        await self._process.point()
        self._process.fail()
        if self._is_lost:
            return None
        db, passed = self.database, set()
        for link in link_ids:
            intent = db.intents[link]
            if intent.state is not IntentState.INTENT:
                continue
            if intent.is_entry and (db.control.refuses_entries is not None or db.control.waits):
                continue
            db.intents[link] = intent.to(IntentState.SENDING, sent_at=now)
            db.passes.append((link, self.epoch, self._process.loop.time()))
            passed.add(link)
        if passed and self._process.at_gate is not None:
            self._process.at_gate()
            self._process.at_gate = None
        self._process.fail()
        await self._process.point()
        return frozenset(passed)

    async def commit(self, change: Change) -> Committed | None:
        await self._process.point()
        self._process.fail()
        if self._is_lost:
            return None
        refused = self._write(change)
        self._process.fail()
        await self._process.point()
        return refused

    def _write(self, change: Change) -> Committed | None:
        db = self.database
        answered = {each.execution.execution_id for each in change.bookings if change.thaws}
        repeated = {each.execution.execution_id for each in change.bookings} & db.bookings.keys() - answered
        if repeated:
            return None
        if change.bar is not None:
            assert db.last_bar is None or change.bar > db.last_bar, "a bar was stepped twice"
            entered = any(each.kind == "entry" and each.outcome == "pending" for each in change.outcome.decisions)
            if entered and db.control.refuses_entries is not None:
                return None
            db.last_bar = change.bar
            db.stepped.append(change.bar)
        if change.outcome.must_be_stored or change.intents or change.bookings:
            db.snapshot = dict(change.snapshot)
        refused = {}
        for intent in change.intents:
            before = db.intents.get(intent.link_id)
            if before is not None and before.state is not intent.state:
                assert intent.state in TRANSITIONS[before.state], f"{before.state} → {intent.state}"
            if before is not None and before.state.is_final:
                assert intent.filled == before.filled, f"{intent.leg} was {before.state} before its last fill"
            if before is None and intent.is_entry and db.refuse_entries:
                db.refuse_entries -= 1
                refused[intent.link_id] = "max_trades_per_month"
                intent = intent.to(IntentState.DROPPED)
            db.intents[intent.link_id] = intent
        self._write_bookings(change, answered)
        db.fills += change.outcome.fills
        db.trades += change.outcome.trades
        db.decisions += change.outcome.decisions
        for incident in change.incidents:
            db.incidents.setdefault(incident.key, incident.kind)
        db.ignored_orders.update(change.ignored_orders)
        if change.freezes:
            db.demand(frozen=True, answer=None)
        if change.thaws:
            db.answers.append(db.control.answer)
            db.demand(frozen=False, answer=None)
        if change.fails or change.recovers:
            db.demand(failed=change.fails)
        if change.ends:
            db.ended, db.ended_at = True, self._process.loop.now()
        return Committed(refused)

    def _write_bookings(self, change: Change, answered: set[str]) -> None:
        db = self.database
        for execution_id in answered:
            if execution_id in db.bookings:
                kept = [each for each in db.bookings[execution_id] if each.effect != "foreign"]
                db.bookings[execution_id] = kept
        for booking in change.bookings:
            db.bookings.setdefault(booking.execution.execution_id, []).append(booking)
        db.ignored = change.ignored
