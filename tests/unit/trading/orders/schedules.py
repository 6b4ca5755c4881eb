"""Seeded schedules: a session trades on an exchange in memory while workers die, freeze and hand it over, answers
are lost, orders are cut, and people interfere. After everything has settled, the invariants are checked."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from services.trading.exchange.venue import (
    ExecutionKind,
    NewOrder,
    OrderOrigin,
    OrderSide,
    OrderStatus,
    VenueExecution,
)
from services.trading.orders.account_readings import AccountReadings
from services.trading.orders.actor import SessionActor
from services.trading.orders.book import SessionFacts
from services.trading.orders.intents import IntentState
from services.trading.orders.store import Booking
from shared.strategy.bars import Bar, Instrument, Terms
from shared.strategy.document.parse import Strategy, parse_strategy
from shared.strategy.execution.exchange_steps import ExchangeExecution
from shared.strategy.execution.outcome import StepOutcome
from shared.strategy.series import Series
from tests.unit.trading.orders.memory_exchange import SYMBOL, Faults, MemoryExchange
from tests.unit.trading.orders.memory_store import Database, Killed, MemoryStore, Process
from tests.unit.trading.orders.virtual_time import VirtualLoop, run

SESSION = UUID("01980000-0000-7000-8000-000000000001")
ACCOUNT = UUID("01980000-0000-7000-8000-000000000002")
BAR_S, TICKS = 60, 8
SETTLING_S = 200
TERMS = Terms(Instrument(), Decimal("0.00055"))
HANDS = ["manual_close", "manual_part", "no_stop", "foreign", "foreign_order", "liquidate", "adl", "fund"]
UP: dict[str, object] = {"left": "close", "op": ">", "right": "open"}
DOWN: dict[str, object] = {"left": "close", "op": "<", "right": "open"}


def _strategy(side: str, entry: object, leave: object, **risk: object) -> Strategy:
    return parse_strategy(
        {
            "strategy_name": "schedule",
            "strategy_config": {"interval": "1", "side": side, "indicators": {}},
            "entry_conditions": entry,
            "exit_conditions": leave,
            "risk_management": {
                "position_size": {"type": "fixed_base", "value": "1"},
                "stop_loss": {"type": "percent", "value": "1"},
                **risk,
            },
        }
    )


_TARGETS = [
    {"type": "percent", "value": "0.4", "close_percent": "50"},
    {"type": "percent", "value": "0.8", "close_percent": "50"},
]
_TRAILING = {"type": "percent", "value": "0.7"}
STRATEGIES = [
    _strategy("LONG", UP, None, take_profits=_TARGETS),
    _strategy("SHORT", DOWN, None, trailing_stop=_TRAILING),
    _strategy("LONG", DOWN, UP, leverage="2", trailing_stop=_TRAILING, take_profits=_TARGETS[:1]),
    _strategy("BOTH", {"long": UP, "short": DOWN}, {"long": DOWN, "short": UP}, take_profits=_TARGETS),
    _strategy("BOTH", {"long": UP, "short": DOWN}, {"long": DOWN, "short": UP}, leverage="3"),
    _strategy("SHORT", UP, DOWN, cooldown_bars=1, max_bars=2),
]


class ProcessBars:
    """The series as one process has it."""

    def __init__(self, strategy: Strategy, rows: list[Bar]) -> None:
        self._strategy = strategy
        self._rows = rows
        self._series = Series()

    def _catch_up(self) -> None:
        for row in self._rows[len(self._series) :]:
            self._series.append(row)

    def next(self, after: datetime | None) -> tuple[Series, int] | None:
        for index, row in enumerate(self._rows):
            if after is None or row.open_time > after:
                self._catch_up()
                return self._series, index
        return None

    def restore(
        self, snapshot: Mapping[str, object] | None, last_bar: datetime | None, *, replays: bool = True
    ) -> ExchangeExecution:
        if snapshot is None:
            execution = ExchangeExecution(self._strategy, TERMS)
        else:
            restored = ExchangeExecution.restore(self._strategy, TERMS, None, snapshot)
            assert isinstance(restored, ExchangeExecution)
            execution = restored
        self._catch_up()
        for index, row in enumerate(self._rows):
            done = execution.closed_ms is not None and row.open_time_ms <= execution.closed_ms
            if replays and not done and last_bar is not None and row.open_time <= last_bar:
                outcome = execution.on_close(self._series, index, lambda _: "replayed")
                assert not outcome.must_be_stored, "a quiet bar decides when it is replayed"
        return execution

    def on_close(
        self, execution: ExchangeExecution, series: Series, index: int, refusal: str | None
    ) -> StepOutcome:
        return execution.on_close(series, index, lambda _: refusal)

    def snapshot(self, execution: ExchangeExecution) -> Mapping[str, object]:
        return execution.snapshot()


class ProcessVenue:
    """The exchange as one process calls it: it may die or freeze before and after each call."""

    def __init__(self, exchange: MemoryExchange, process: Process, world: "World") -> None:
        self._exchange = exchange
        self._process = process
        self._world = world

    def __getattr__(self, name: str) -> Any:
        async def call(*arguments: object) -> object:
            await self._process.point(switches=False)
            if name == "create_order":
                self._world.check_sending(arguments[0], self._process)  # type: ignore[arg-type]
            if name == "set_stop":
                self._world.check_stop()
            result = await getattr(self._exchange, name)(*arguments)
            await self._process.point(switches=False)
            return result

        return call


Kind = Literal["safe", "faults", "people"]


@dataclass
class World:
    """One schedule. `faults` None: drawn from the seed."""

    loop: VirtualLoop
    seed: int
    bars: int = 6
    faults: Faults | None = None
    kills: bool = True
    kill_at: int | None = None  # of the first process
    people: bool | None = None
    strategy: Strategy | None = None
    unsent_may_be: tuple[OrderStatus, ...] = (OrderStatus.REJECTED,)  # what the exchange has of unsent intents
    draw: random.Random = field(init=False)
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        draw = self.draw = random.Random(self.seed)
        self.strategy = self.strategy or draw.choice(STRATEGIES)
        if self.faults is None:
            self.faults = self._draw_faults()
        if self.people is None:
            self.people = draw.random() < 0.3
        self.start = self.loop.time()
        self.exchange = MemoryExchange(self.loop, draw, self.faults, Decimal(100))
        self.exchange.on_change = self._hint
        self.db = Database()
        self.rows: list[Bar] = []
        self.actors: list[SessionActor] = []
        self.processes: list[Process] = []
        self.first_awaits = 0  # awaits of the first process until the faults end
        self.handled_at = 0.0  # when a person interfered last
        self.faulty = True
        self._used: set[tuple[str, int, float]] = set()
        self.facts = SessionFacts(
            session_id=SESSION,
            account_id=ACCOUNT,
            symbol=SYMBOL,
            strategy_hash=self.strategy.content_hash,
            leverage=self.strategy.risk.leverage,
            interval_ms=BAR_S * 1000,
            entry_deadline=timedelta(seconds=6),
            min_order_qty=TERMS.instrument.min_order_qty,
        )

    def _draw_faults(self) -> Faults:
        draw = self.draw

        def some(most: float) -> float:
            return draw.choice([0.0, draw.uniform(0, most)])

        return Faults(
            refused=some(0.1),
            not_sent=some(0.2),
            lost_request=some(0.15),
            lost_answer=some(0.3),
            repeated=some(0.1),
            late=some(0.15),
            rejected_later=some(0.1),
            unavailable=some(0.2),
            partial=some(0.6),
            cut=some(0.5),
            duplicate=some(0.3),
            lag_s=some(3),
            delay_s=draw.choice([0.02, 0.3, 1.0]),
        )

    # What happens.

    async def run(self) -> None:
        supervisor = asyncio.create_task(self._supervise())
        for at, kind in self._events():
            self.loop.call_later(at, self._happen, kind)
        price = self.exchange.price
        for number in range(self.bars):
            await self._trade_bar(number, price)
            price = self.exchange.price
        await self._settle()
        self._check_rest()
        if not self.db.ended:
            self.db.demand(flatten="manual", ends=True)
            self._wake()
            await self._sleep(SETTLING_S)
            self._check_end()
        await self._sleep(1)
        self._check_books()
        supervisor.cancel()
        if supervisor.done() and not supervisor.cancelled() and (error := supervisor.exception()) is not None:
            raise error

    async def _trade_bar(self, number: int, opened: Decimal) -> None:
        high = low = opened
        for _ in range(TICKS):
            await self._sleep(BAR_S / TICKS)
            move = Decimal(self.draw.randint(-45, 45)) / 100
            price = max(self.exchange.price + move, Decimal(50))
            high, low = max(high, price), min(low, price)
            self.exchange.set_price(price)
        open_ms = int((self.start + number * BAR_S) * 1000)
        bar = Bar(open_ms, opened, high, low, self.exchange.price, Decimal(1))
        self.loop.call_later(self.draw.uniform(0.01, 1), self._announce, bar)

    def _announce(self, bar: Bar) -> None:
        self.rows.append(bar)
        for actor in self.actors:
            actor.wake(account_changed=False)

    def _events(self) -> list[tuple[float, str]]:
        draw, last = self.draw, self.bars * BAR_S
        kinds: list[str] = []
        if self.kills:
            strikes = ["kill", "freeze", "kill_at_gate", "freeze_at_gate"]
            kinds += draw.choices(strikes, k=draw.randint(0, 5))
        if self.people:
            hands = [
                "manual_close",
                "manual_part",
                "no_stop",
                "foreign",
                "foreign_order",
                "liquidate",
                "adl",
                "fund",
            ]
            kinds += draw.sample(hands, draw.randint(1, 3)) + ["answer"] * draw.randint(0, 2)
        if draw.random() < 0.3:
            kinds += draw.choice([["stop"], ["pause"], ["kill_switch"], ["limit"], ["pause", "resume"]])
        # Half of them soon after a close, when orders are under way.
        closes = [BAR_S * number for number in range(1, self.bars)]
        times = [draw.choice([draw.uniform(BAR_S, last), draw.choice(closes) + draw.uniform(0, 4)]) for _ in kinds]
        return sorted(zip(times, kinds, strict=True))

    def _happen(self, kind: str) -> None:
        exchange, db, draw = self.exchange, self.db, self.draw
        closing: OrderSide = "SELL" if exchange.position > 0 else "BUY"
        opening: OrderSide = "BUY" if exchange.position > 0 else "SELL"
        match kind:
            case "kill" | "freeze" if self.processes:
                self._strike(kind)
            case "kill_at_gate" | "freeze_at_gate" if self.processes:
                self.processes[-1].at_gate = lambda: self._strike(kind.removesuffix("_at_gate"))
            case "manual_close" if exchange.position:
                exchange.trade_by_hand(closing, abs(exchange.position))
            case "manual_part" if abs(exchange.position) > Decimal("0.2"):
                exchange.trade_by_hand(closing, Decimal("0.2"))
            case "no_stop":
                exchange.stop = None
                exchange.remember()
            case "foreign":
                exchange.trade_by_hand(opening, Decimal("0.3"))
            case "foreign_order":
                exchange.order_by_hand("BUY", Decimal("0.3"))
            case "liquidate" if exchange.position:
                exchange.take_over(ExecutionKind.LIQUIDATION, abs(exchange.position))
            case "adl" if abs(exchange.position) > Decimal("0.1"):
                exchange.take_over(ExecutionKind.ADL, Decimal("0.1"))
            case "fund" if exchange.position:
                exchange.fund(Decimal("0.01"))
            case "answer" if db.control.frozen:
                db.demand(answer=draw.choice(["adopt", "ignore"]))
            case "stop":
                db.demand(flatten=draw.choice(["manual", "end_of_data"]), ends=True)
            case "pause":
                db.demand(refusal="paused")
            case "resume":
                db.demand(refusal=None)
            case "kill_switch":
                db.demand(refusal="kill_switch", flatten=draw.choice([None, "kill_switch"]))
            case "limit":
                db.refuse_entries = 1
        if kind in HANDS:
            self.handled_at = self.loop.time()
        if draw.random() < 0.5:
            self._wake()

    def _strike(self, kind: str) -> None:
        """Kill or freeze the newest process."""
        process = self.processes[-1]
        if kind == "kill":
            process.killed = True
            self.tasks[-1].cancel()
        else:
            process.frozen_until = self.loop.time() + self.draw.choice([2.2, self.draw.uniform(0.5, 30)])
            self.taken_over.set()

    def _hint(self) -> None:
        """The account's streams: late, repeated, or lost."""
        for _ in range(self.draw.choice([0, 1, 1, 2]) if self.faulty else 1):
            self.loop.call_later(self.draw.uniform(0.001, 0.5), self._wake)

    def _wake(self) -> None:
        for actor in self.actors:
            actor.wake()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    # Workers.

    async def _supervise(self) -> None:
        """Claim the session whenever its process is gone or frozen; each claim raises the epoch."""
        self.tasks: list[asyncio.Task[None]] = []
        self.taken_over = asyncio.Event()
        kill_at = self.kill_at
        while not self.db.ended:
            self.db.epoch += 1
            outage = self.draw.choice([0, 0, 0.02]) if self.faulty and self.kills else 0
            process = Process(self.loop, self.draw, kill_at, outage)
            kill_at = self.draw.randint(1, 200) if self.kills and self.draw.random() < 0.3 else None
            store = MemoryStore(self.db, self.db.epoch, process)
            assert self.strategy is not None
            venue = ProcessVenue(self.exchange, process, self)
            actor = SessionActor(
                self.facts,
                store,
                venue,
                AccountReadings(venue, self.loop.now),
                ProcessBars(self.strategy, self.rows),
                self.loop.now,
            )
            task = asyncio.create_task(self._live(actor))
            self.processes.append(process)
            self.tasks.append(task)
            self.actors = [*self.actors[-1:], actor]
            takeover = asyncio.create_task(self.taken_over.wait())
            await asyncio.wait([task, takeover], return_when=asyncio.FIRST_COMPLETED)
            takeover.cancel()
            self.taken_over.clear()
            if not self.db.ended:
                await asyncio.sleep(self.draw.uniform(0.1, 12))

    async def _live(self, actor: SessionActor) -> None:
        try:
            await actor.run()
        except Killed:
            return
        except asyncio.CancelledError:
            return
        except AssertionError as error:
            self.violations.append(f"assertion: {error!r}")
            raise

    # Checks.

    def _violate(self, text: str) -> None:
        self.violations.append(f"{self.loop.time() - self.start:.1f}s {text}")

    @property
    def may_find_foreign(self) -> bool:
        return self.handled_at > 0

    def check_sending(self, order: NewOrder, process: Process) -> None:
        """An order is sent only after its intent passed the gate just now, once, and as it was recorded."""
        db, now = self.db, self.loop.time()
        passes = [each for each in db.passes if each[0] == order.link_id and each not in self._used]
        if not passes:
            self._violate(f"{order.link_id} was sent without a gate")
            return
        self._used.add(passes[-1])
        if now - passes[-1][2] > 2.5:
            self._violate(f"{order.link_id} was sent {now - passes[-1][2]:.1f} s after its gate")
        intent = db.intents[order.link_id]
        if (order.quantity, order.side, order.reduce_only) != (intent.quantity, intent.side, intent.reduce_only):
            self._violate(f"{order.link_id} is not the order that was recorded")
        if intent.is_entry:
            if intent.send_before is not None and self.loop.now() > intent.send_before + timedelta(seconds=2.5):
                self._violate("a stale entry was sent")
            if order.stop_loss is None:
                self._violate("an entry was sent without a stop")
            if self.exchange.leverage != self.facts.leverage:
                self._violate(f"an entry was sent with a leverage of {self.exchange.leverage}")
            settled = self.loop.time() - self.handled_at > 15
            if self.exchange.position and settled:
                self._violate(f"an entry was sent over a position of {self.exchange.position}")
        elif not order.reduce_only:
            self._violate(f"{intent.leg} is not reduce-only")

    def check_stop(self) -> None:
        """A stop is about to be set."""

    async def _settle(self) -> None:
        """End all faults, answer what a person has to answer, and wait."""
        self.first_awaits = self.processes[0].points
        self.faulty = False
        self.kills = False
        self.exchange.faults.__dict__.update(Faults().__dict__)
        for process in self.processes:
            process.outage = 0
            process.kill_at = process.at_gate = None
        await self._sleep(SETTLING_S)
        if self.db.control.frozen:
            self.db.demand(answer=self.draw.choice(["adopt", "ignore"]))
            self._wake()
            await self._sleep(SETTLING_S)

    def _open_orders(self) -> list[str]:
        ours = self.db.intents.keys()
        return [link for link, order in self.exchange.orders.items() if order.status.is_open and link in ours]

    def _check_rest(self) -> None:
        """At rest: every bar stepped, books and exchange agree, the position has its stop and its targets."""
        db, exchange = self.db, self.exchange
        if db.ended:
            self._check_end()
            return
        if not db.control.ends and db.last_bar != self.rows[-1].open_time:
            self._violate(f"stepped up to {db.last_bar} of {self.rows[-1].open_time}")
        if db.control.frozen:
            self._violate("still frozen after the answer")
        assert self.strategy is not None
        execution = ProcessBars(self.strategy, self.rows).restore(db.snapshot, db.last_bar)
        position = execution.position
        booked = Decimal(0)
        if position is not None:
            booked = position.left if position.side == "LONG" else -position.left
        if booked + db.ignored != exchange.position:
            self._violate(f"booked {booked}, ignored {db.ignored}, on the exchange {exchange.position}")
        if execution.pending:
            self._violate("a decision is still pending")
        for intent in db.intents.values():
            order = exchange.orders.get(intent.link_id)
            if intent.state in (IntentState.SENDING, IntentState.UNKNOWN):
                self._violate(f"{intent.leg} is {intent.state}")
            if intent.state.was_sent and (order is None or not order.status.is_open):
                self._violate(f"{intent.leg} is {intent.state}, and no order is open")
            if order is not None and order.status.is_open and not intent.state.was_sent:
                self._violate(f"{intent.leg} is {intent.state}, and its order is open")
        if position is None:
            if self._open_orders():
                self._violate("flat, and orders are open")
            return
        desired = execution.desired_stop()
        if exchange.stop is None or desired is None or exchange.stop != desired[0]:
            self._violate(f"the stop is {exchange.stop}, and should be {desired}")
        if db.control.flatten is not None:
            self._violate("a position after everything was to be flat")

    def _check_end(self) -> None:
        db, exchange = self.db, self.exchange
        if not db.ended:
            self._violate(f"the session has not ended: {exchange.position}, {self._open_orders()}")
            return
        position = sum(
            (_signed(each) for _, each in exchange.executions if not self._is_unknowable(each)), Decimal(0)
        )
        if position != db.ignored and not db.control.frozen:
            self._violate(f"ended with {position} on the exchange, {db.ignored} ignored")
        if self._open_orders():
            self._violate("ended, and orders are open")

    def _is_unknowable(self, execution: VenueExecution) -> bool:
        """Return whether a person caused it after the session's last reading of the account, or after its end."""
        ended_at = self.db.ended_at
        if ended_at is None or execution.link_id is not None or execution.execution_id in self.db.bookings:
            return False
        return execution.time > ended_at - timedelta(seconds=60)

    def _check_books(self) -> None:
        """Every execution is booked once, every order was an intent, and sums are exact."""
        db, exchange = self.db, self.exchange
        seen = {execution.execution_id for _, execution in exchange.executions}
        if db.bookings.keys() - seen:
            self._violate("an execution was invented")
        for _, execution in exchange.executions:
            booked = db.bookings.get(execution.execution_id, [])
            parts = sum((each.part for each in booked), Decimal(0))
            if (
                any(each.effect == "entry" and each.link_id is None for each in booked)
                and "adopt" not in db.answers
            ):
                self._violate(f"{execution} was booked as ours")
            wrong = [each.reason for each in booked if each.effect == "close" and not _fits(each)]
            if wrong:
                self._violate(f"{execution} is booked as {wrong}")
            if parts != execution.quantity and not self._is_unknowable(execution):
                self._violate(f"{execution.execution_id} is booked with {parts} of {execution.quantity}")
        if not self.may_find_foreign and "foreign_change" in db.incidents.values():
            self._violate("a foreign change, although no person interfered")
        for accepted in exchange.accepted:
            if accepted.link_id not in db.intents:
                self._violate(f"an order without an intent: {accepted}")
        entries = [each for each in db.intents.values() if each.is_entry]
        if len({each.bar for each in entries}) != len(entries):
            self._violate("two entries of one decision")
        for intent in db.intents.values():
            order = exchange.orders.get(intent.link_id)
            unsent = intent.state in (IntentState.REJECTED, IntentState.STALE, IntentState.DROPPED)
            if unsent and order is not None and order.status not in self.unsent_may_be:
                self._violate(f"{intent.leg} is {intent.state}, and its order {order.status}")
            if (order.filled if order is not None else Decimal(0)) != intent.filled:
                self._violate(f"{intent.leg} has {intent.filled} filled, its order {order}")
        if len(db.stepped) != len(set(db.stepped)):
            self._violate("a bar was stepped twice")
        opened = sum((fill.qty for fill in db.fills if fill.action == "open"), Decimal(0))
        closed = sum((fill.qty for fill in db.fills if fill.action == "close"), Decimal(0))
        traded = sum((trade.qty for trade in db.trades), Decimal(0))
        if db.ended and not opened == closed == traded:
            self._violate(f"opened {opened}, closed {closed}, traded {traded}")
        if exchange.calls > 5000:
            self._violate(f"{exchange.calls} calls of the exchange")


def _fits(booking: Booking) -> bool:
    """Return whether the reason of a close is that of what executed it."""
    execution, reason = booking.execution, booking.reason
    if execution.kind is not ExecutionKind.TRADE:
        return reason == execution.kind.value.lower()
    if execution.origin is OrderOrigin.STOP_LOSS:
        return reason in ("stop_loss", "trailing_stop")
    return (reason == "manual") == (execution.link_id is None) or reason == "manual"


def _signed(execution: VenueExecution) -> Decimal:
    if execution.kind is ExecutionKind.FUNDING:
        return Decimal(0)
    return execution.quantity if execution.side == "BUY" else -execution.quantity


def run_schedule(loop: VirtualLoop, seed: int, kind: type[World] = World, /, **options: Any) -> World:
    loop.moved = float(-(-int(loop.moved) // BAR_S) * BAR_S + BAR_S)
    world = kind(loop, seed, **options)
    try:
        run(loop, world.run())
    except AssertionError as error:
        world.violations.append(f"assertion: {error!r}")
    return world
