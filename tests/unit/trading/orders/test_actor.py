"""How the actor treats each outcome of a command, and what it does not send."""

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from services.trading.exchange.venue import (
    KeyRejected,
    LinkIdUsed,
    NewOrder,
    NotSent,
    OutcomeUnknown,
    Refused,
    VenuePosition,
)
from services.trading.orders.account_readings import AccountReadings
from services.trading.orders.actor import CannotStep, SessionActor
from services.trading.orders.book import SessionFacts
from services.trading.orders.intents import Intent, IntentState
from shared.contracts.types import EPOCH
from shared.strategy.bars import Bar
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.series import Series
from tests.unit.trading.orders.memory_exchange import SYMBOL, Faults, MemoryExchange
from tests.unit.trading.orders.memory_store import Database, MemoryStore, Process
from tests.unit.trading.orders.schedules import ACCOUNT, SESSION, STRATEGIES, ProcessBars
from tests.unit.trading.orders.virtual_time import VirtualLoop, run

S = IntentState


class Venue(MemoryExchange):
    """Raises what it is given at the first orders, and accepts the others."""

    def __init__(self, loop: VirtualLoop, *outcomes: Exception) -> None:
        super().__init__(loop, random.Random(1), Faults(), Decimal(100))
        self.outcomes = list(outcomes)
        self.sent: list[NewOrder] = []
        self.hangs = False
        self.rejects_key = False
        self.refuses_stop = False

    async def create_order(self, order: NewOrder) -> str:
        self.sent.append(order)
        if self.outcomes:
            raise self.outcomes.pop(0)
        return await super().create_order(order)

    async def set_stop(self, symbol: str, price: Decimal | None) -> None:
        if self.refuses_stop:
            raise Refused(10001, "params error: stopLoss invalid")
        await super().set_stop(symbol, price)

    async def get_position(self, symbol: str) -> VenuePosition:
        if self.hangs:
            await asyncio.sleep(6)
        if self.rejects_key:
            raise KeyRejected(10003, "API key is invalid.")
        return await super().get_position(symbol)


class Bars(ProcessBars):
    cannot_step = False
    cannot_replay = False

    def restore(
        self, snapshot: Mapping[str, object] | None, last_bar: datetime | None, *, replays: bool = True
    ) -> ExchangeExecution:
        if self.cannot_replay and replays:
            raise CannotStep
        return super().restore(snapshot, last_bar, replays=replays)

    def on_close(
        self, execution: ExchangeExecution, series: Series, index: int, refusal: str | None
    ) -> StepOutcome:
        if self.cannot_step:
            raise CannotStep
        return super().on_close(execution, series, index, refusal)


class ClosedGate(MemoryStore):
    """Nothing passes, whatever the control says."""

    async def pass_gate(self, link_ids: object, now: datetime) -> frozenset[str] | None:
        return frozenset()


class FreezingStore(MemoryStore):
    """The process sleeps after it has passed the gate for the first time."""

    sleeps_s = 3.0

    async def pass_gate(self, link_ids: object, now: datetime) -> frozenset[str] | None:
        passed = await super().pass_gate(link_ids, now)  # type: ignore[arg-type]
        await asyncio.sleep(self.sleeps_s)
        self.sleeps_s = 0
        return passed


class Scene:
    """A bar has closed at which the session enters; the next one is not there yet."""

    def __init__(
        self,
        loop: VirtualLoop,
        *outcomes: Exception,
        store: type[MemoryStore] = MemoryStore,
        waited: timedelta = timedelta(0),
        smallest: str = "0.001",
    ) -> None:
        """`waited`: while the exchange's clock stood, as in a replay. `smallest`: order that the exchange takes."""
        loop.moved = 60.0
        self.loop = loop
        self.db = Database(epoch=1)
        self.venue = Venue(loop, *outcomes)
        strategy = STRATEGIES[0]
        facts = SessionFacts(
            session_id=SESSION,
            account_id=ACCOUNT,
            symbol=SYMBOL,
            strategy_hash=strategy.content_hash,
            leverage=strategy.risk.leverage,
            interval_ms=60_000,
            entry_deadline=timedelta(seconds=6),
            min_order_qty=Decimal(smallest),
        )
        row = Bar(0, Decimal(99), Decimal(100), Decimal(99), Decimal(100), Decimal(1))
        self.rows = [row]
        self.bars = Bars(strategy, self.rows)
        memory = store(self.db, 1, Process(loop, random.Random(1)))
        clocks = (lambda: loop.now() + waited, loop.now)
        readings = AccountReadings(self.venue, *clocks)
        self.actor = SessionActor(facts, memory, self.venue, readings, self.bars, *clocks)

    def run(self, seconds: float = 30) -> "Scene":
        async def main() -> None:
            task = asyncio.create_task(self.actor.run())
            await asyncio.sleep(seconds)
            if task.done():
                task.result()

        run(self.loop, main())
        return self

    @property
    def entry(self) -> Intent:
        (entry,) = [intent for intent in self.db.intents.values() if intent.is_entry]
        return entry


def test_an_accepted_order_is_filled_and_protected(loop: VirtualLoop) -> None:
    scene = Scene(loop).run()
    assert scene.entry.state is S.FILLED
    assert (scene.venue.position, scene.venue.stop) == (Decimal(1), Decimal(99))
    assert sorted(order.price for order in scene.venue.sent if order.price) == [Decimal("100.4"), Decimal("100.8")]


def test_a_refusal_is_final_and_reported_with_the_exchanges_words_and_code(loop: VirtualLoop) -> None:
    scene = Scene(loop, Refused(110007, "available balance not enough")).run()
    entry = scene.entry
    assert (entry.state, entry.venue_code, entry.venue_message) == (
        S.REJECTED,
        110007,
        "available balance not enough",
    )
    assert list(scene.db.incidents.values()) == ["order_refused"]
    assert len(scene.venue.sent) == 1


def test_what_was_not_sent_is_sent_again_after_the_time_the_exchange_asks_for(loop: VirtualLoop) -> None:
    scene = Scene(loop, NotSent("too many visits", 2)).run()
    assert scene.entry.state is S.FILLED
    assert len({order.link_id for order in scene.venue.sent if order.price is None}) == 1


def test_an_entry_that_could_not_be_sent_in_time_is_stale(loop: VirtualLoop) -> None:
    scene = Scene(loop, NotSent("too many visits", 10)).run()
    assert scene.entry.state is S.STALE
    assert len(scene.venue.sent) == 1


def test_an_entry_is_sent_until_its_deadline_and_a_close_at_any_time(loop: VirtualLoop) -> None:
    scene = Scene(loop)
    loop.call_later(10, lambda: scene.db.demand(flatten="manual"))
    loop.call_later(10, lambda: scene.actor.wake(account_changed=False))
    entry, *others = scene.run().venue.sent
    assert scene.entry.send_before == EPOCH + timedelta(seconds=entry.send_until or 0)
    assert {order.send_until for order in others} == {None}


def test_an_unknown_outcome_is_asked_for_and_not_repeated_within_the_window(loop: VirtualLoop) -> None:
    scene = Scene(loop, OutcomeUnknown()).run(seconds=9)
    assert scene.entry.state is S.UNKNOWN
    assert len(scene.venue.sent) == 1


def test_after_the_window_an_entry_is_too_old_to_be_sent_again(loop: VirtualLoop) -> None:
    assert Scene(loop, OutcomeUnknown()).run(seconds=30).entry.state is S.STALE


def test_a_link_id_that_is_used_is_no_refusal(loop: VirtualLoop) -> None:
    assert Scene(loop, LinkIdUsed(110072, "duplicate")).run(seconds=5).entry.state is S.UNKNOWN


def test_a_rejected_key_is_reported(loop: VirtualLoop) -> None:
    scene = Scene(loop, KeyRejected(33004, "api key expired")).run()
    assert set(scene.db.incidents.values()) == {"key_rejected", "order_refused"}


def test_a_key_that_stays_rejected_is_reported_once_a_day(loop: VirtualLoop) -> None:
    scene = Scene(loop)
    scene.venue.rejects_key = True
    loop.call_later(61, lambda: scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000)))
    loop.call_later(61, scene.actor.wake)
    assert list(scene.run(seconds=200).db.incidents.values()).count("key_rejected") == 1
    assert len(scene.db.stepped) == 2


def test_a_process_that_slept_after_the_gate_passes_it_again_before_it_sends(loop: VirtualLoop) -> None:
    scene = Scene(loop, store=FreezingStore).run()
    entry = scene.entry.link_id
    assert [link for link, _, _ in scene.db.passes].count(entry) == 2
    assert [order.link_id for order in scene.venue.sent].count(entry) == 1


def test_a_reading_that_is_cut_off_at_a_close_is_repeated(loop: VirtualLoop) -> None:
    scene = Scene(loop)

    def close_by_hand() -> None:
        scene.venue.hangs = True
        scene.venue.trade_by_hand("SELL", Decimal(1))
        scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000))
        scene.actor.wake()

    loop.call_later(61, close_by_hand)
    loop.call_later(65, lambda: setattr(scene.venue, "hangs", False))
    assert [trade.reason for trade in scene.run(seconds=75).db.trades] == ["manual"]


LONG_WAIT = timedelta(hours=1)


def test_after_a_long_wait_executions_are_listed_from_the_exchanges_time_on(loop: VirtualLoop) -> None:
    scene = Scene(loop, waited=LONG_WAIT).run()
    assert (scene.entry.state, scene.venue.stop) == (S.FILLED, Decimal(99))


def test_after_a_long_wait_an_unknown_order_is_not_repeated_within_the_window(loop: VirtualLoop) -> None:
    scene = Scene(loop, OutcomeUnknown(), waited=LONG_WAIT).run(seconds=5)
    assert (scene.entry.state, len(scene.venue.sent)) == (S.UNKNOWN, 1)


def test_after_a_long_wait_a_refused_close_is_not_repeated_at_once(loop: VirtualLoop) -> None:
    scene = Scene(loop, waited=LONG_WAIT)

    def close() -> None:
        scene.venue.outcomes = [Refused(110017, "no position")] * 9
        scene.db.demand(flatten="manual")
        scene.actor.wake(account_changed=False)

    loop.call_later(10, close)
    scene.run(seconds=15)
    assert 2 <= len([each for each in scene.db.intents.values() if each.leg == "flatten"]) <= 3


def test_after_a_long_wait_a_close_waits_for_the_executions_of_its_bar(loop: VirtualLoop) -> None:
    scene = Scene(loop, waited=LONG_WAIT)

    def announce() -> None:
        scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000))
        scene.actor.wake(account_changed=False)

    loop.call_later(59, lambda: scene.venue.trade_by_hand("SELL", Decimal(1)))
    loop.call_later(60.5, announce)
    scene.run(seconds=65)
    assert len([intent for intent in scene.db.intents.values() if intent.is_entry]) == 2


def test_a_gate_that_stays_closed_does_not_make_it_busy_without_end(loop: VirtualLoop) -> None:
    assert Scene(loop, store=ClosedGate).run(seconds=5).venue.calls < 60


@pytest.mark.parametrize("ignored", ["0", "0.5"])
def test_a_position_below_the_smallest_order_is_closed_whole_unless_a_part_is_ignored(
    loop: VirtualLoop, ignored: str
) -> None:
    scene = Scene(loop, smallest="2").run(seconds=10)
    scene.db.ignored = Decimal(ignored)
    scene.venue.position += Decimal(ignored)
    scene.venue.remember()
    scene.db.demand(flatten="manual")
    entry, close = scene.run(seconds=10).venue.sent
    assert (entry.closes_all, close.closes_all, close.quantity) == (False, ignored == "0", Decimal(1))


def test_a_bar_that_cannot_be_stepped_ends_decisions_and_nothing_else(loop: VirtualLoop) -> None:
    scene = Scene(loop)

    def announce() -> None:
        scene.bars.cannot_step = True
        scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000))
        scene.actor.wake()

    loop.call_later(61, announce)
    loop.call_later(70, lambda: scene.db.demand(flatten="kill_switch"))
    loop.call_later(70, lambda: scene.actor.wake(account_changed=False))
    scene.run(seconds=80)
    assert "session_failed" in scene.db.incidents.values()
    assert [trade.reason for trade in scene.db.trades] == ["kill_switch"]
    assert scene.venue.position == 0


def test_a_stop_that_the_exchange_does_not_move_stays_and_is_reported(loop: VirtualLoop) -> None:
    scene = Scene(loop).run(seconds=10)
    scene.venue.stop, scene.venue.refuses_stop = Decimal("98.5"), True
    scene.venue.remember()
    scene.run(seconds=60)
    assert (scene.venue.position, scene.venue.stop) == (Decimal(1), Decimal("98.5"))
    assert list(scene.db.incidents.values()) == ["stop_not_moved"]


def test_a_position_whose_bars_cannot_be_replayed_keeps_its_stop_and_is_closed_on_demand(loop: VirtualLoop) -> None:
    scene = Scene(loop).run(seconds=10)
    scene.bars.cannot_replay = True
    scene.venue.stop = trailed = Decimal("99.5")
    scene.venue.remember()
    scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000))
    scene.run(seconds=60)
    assert (scene.venue.stop, scene.db.control.refuses_entries) == (trailed, "session_failed")
    scene.venue.stop = None
    scene.venue.remember()
    assert scene.run(seconds=10).venue.stop == Decimal(99)
    scene.db.demand(flatten="manual", ends=True)
    scene.run(seconds=30)
    assert ([trade.reason for trade in scene.db.trades], scene.db.ended) == (["manual"], True)
    assert (list(scene.db.incidents.values()), len(scene.db.stepped)) == (["session_failed"], 1)


def test_an_entry_of_a_session_that_cannot_be_replayed_is_not_sent(loop: VirtualLoop) -> None:
    scene = Scene(loop, NotSent("too many visits", 3)).run(seconds=1)
    scene.bars.cannot_replay = True
    assert scene.run().entry.state is S.DROPPED
    assert len(scene.venue.sent) == 1


def test_a_session_recovers_with_the_next_bar_that_is_stepped(loop: VirtualLoop) -> None:
    scene = Scene(loop).run(seconds=10)
    scene.db.demand(failed=True)
    scene.rows.append(scene.rows[0]._replace(open_time_ms=60_000))
    assert scene.run(seconds=10).db.control.refuses_entries is None


def test_an_actor_forgets_what_was_done_two_days_before(loop: VirtualLoop) -> None:
    scene = Scene(loop)

    async def pass_days(days: int) -> None:
        for _ in range(days):
            await asyncio.sleep(10)
            loop.moved += timedelta(days=1).total_seconds()

    async def main() -> None:
        task = asyncio.create_task(scene.actor.run())
        await pass_days(3)
        assert scene.actor._book.intents.keys() == scene.db.intents.keys(), "those of the open trade stay"
        scene.db.demand(flatten="manual")
        await pass_days(4)
        task.cancel()

    run(loop, main())
    book, seen = scene.actor._book, scene.actor._seen
    assert (book.intents, book.booked, seen.sent, seen.answers, seen.not_before) == ({}, set(), {}, {}, {})
    assert [trade.reason for trade in scene.db.trades] == ["manual"]


def test_a_worker_that_has_lost_the_lease_stops(loop: VirtualLoop) -> None:
    scene = Scene(loop)
    scene.db.epoch = 2
    scene.run(seconds=5)
    assert (scene.venue.sent, scene.db.intents) == ([], {})


def test_a_limit_that_refuses_the_intent_leaves_nothing_pending(loop: VirtualLoop) -> None:
    scene = Scene(loop)
    scene.db.refuse_entries = 1
    scene.run()
    assert scene.entry.state is S.DROPPED
    assert scene.venue.sent == []
    restored = scene.bars.restore(scene.db.snapshot, scene.db.last_bar)
    assert not restored.pending
