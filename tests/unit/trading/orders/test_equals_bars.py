"""On an exchange that replays bars in steps, the actor of a session has the fills that the bars give it."""

import asyncio
import random
from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal

import pytest

from services.trading.exchange.venue import ExecutionKind, NewOrder, OrderOrigin
from services.trading.orders.account_readings import AccountReadings
from services.trading.orders.actor import SessionActor
from services.trading.orders.book import SessionFacts
from shared.strategy.bars import Bar
from shared.strategy.document.parse import Strategy, parse_strategy
from shared.strategy.execution.fingerprint import fingerprint
from shared.strategy.execution.outcome import Fill
from shared.strategy.execution.steps import Execution
from shared.strategy.series import Series
from shared.testing.random_strategies import SHORT_PERIODS, RandomStrategy
from tests.unit.trading.orders.memory_exchange import SYMBOL, Faults, MemoryExchange
from tests.unit.trading.orders.memory_store import Database, MemoryStore, Process
from tests.unit.trading.orders.schedules import ACCOUNT, SESSION, TERMS, ProcessBars
from tests.unit.trading.orders.virtual_time import VirtualLoop, run
from tests.unit.trading.scenes import CROSS, INTERVAL, STEP_MS, wavy_bars

BARS = 50


class SteppingExchange(MemoryExchange):
    """Replays bars: market orders that come after a close fill at the next open."""

    def __init__(self, loop: VirtualLoop, price: Decimal) -> None:
        self.is_closed = True
        self._resting: list[NewOrder] = []
        super().__init__(loop, random.Random(1), Faults(), price)

    def _fill_market(self, order: NewOrder) -> None:
        if self.is_closed:
            self._resting.append(order)
        else:
            super()._fill_market(order)

    def open(self, price: Decimal) -> None:
        self.is_closed = False
        self.price = price
        resting, self._resting = self._resting, []
        for order in resting:
            super()._fill_market(order)
        self.set_price(price)

    def rest(self, bar: Bar) -> None:
        long = self.position > 0
        adverse, favourable = (bar.low, bar.high) if long else (bar.high, bar.low)
        self.price = adverse
        if self.position and self.stop is not None and self._is_at_stop(self.stop):
            self.price = self.stop
            self._close_by(OrderOrigin.STOP_LOSS, abs(self.position), ExecutionKind.TRADE)
        elif self.position:
            prices = {price for link, price in self.limits.items() if self.orders[link].status.is_open}
            reached = [price for price in prices if (price <= favourable if long else price >= favourable)]
            for price in sorted(reached, reverse=not long):
                self.set_price(price)
        self.price = bar.close
        self.is_closed = True


class Session:
    def __init__(self, loop: VirtualLoop, strategy: Strategy, bars: Sequence[Bar]) -> None:
        self.loop = loop
        self.bars = bars
        self.db = Database(epoch=1)
        self.exchange = SteppingExchange(loop, bars[0].open)
        self.rows: list[Bar] = []
        facts = SessionFacts(
            session_id=SESSION,
            account_id=ACCOUNT,
            symbol=SYMBOL,
            strategy_hash=strategy.content_hash,
            leverage=strategy.risk.leverage,
            interval_ms=STEP_MS,
            entry_deadline=timedelta(seconds=20),
            min_order_qty=TERMS.instrument.min_order_qty,
        )
        store = MemoryStore(self.db, 1, Process(loop, random.Random(1)))
        session_bars = ProcessBars(strategy, self.rows)
        readings = AccountReadings(self.exchange, loop.now)
        self.actor = SessionActor(facts, store, self.exchange, readings, session_bars, loop.now)

    async def run(self) -> list[Fill]:
        task = asyncio.create_task(self.actor.run())
        for bar in self.bars:
            self.exchange.open(bar.open)
            self.actor.wake()
            closes = (bar.open_time_ms + STEP_MS) / 1000
            await asyncio.sleep(closes - 1 - self.loop.time())
            self.exchange.rest(bar)  # unnoticed, after the last reading: the close has to read it
            await asyncio.sleep(closes - self.loop.time())
            self.rows.append(bar)
            self.actor.wake(account_changed=False)
            await asyncio.sleep(3)
        self.exchange.is_closed = False
        self.db.demand(flatten="end_of_data", ends=True)
        self.actor.wake(account_changed=False)
        await asyncio.sleep(100)
        assert task.done(), "the session has not ended"
        task.result()
        return self.db.fills


def fills_on_bars(strategy: Strategy, bars: Sequence[Bar]) -> list[Fill]:
    fills: list[Fill] = []
    series, execution = Series(), Execution(strategy, TERMS)
    for bar in bars:
        series.append(bar)
        fills += execution.on_close(series).fills
    return [*fills, *execution.stop(bars[-1].open_time_ms, bars[-1].close, "end_of_data").fills]


def gapless(seed: int) -> list[Bar]:
    return wavy_bars(BARS, seed)


def documents() -> list[dict[str, object]]:
    """Random strategies that have a stop from the entry on, as a live session needs."""
    found: list[dict[str, object]] = [CROSS]
    seed = 0
    while len(found) < 25:
        draw = RandomStrategy(random.Random(seed), [bar.close for bar in gapless(seed)], SHORT_PERIODS)
        document = draw.document(INTERVAL)
        risk = parse_strategy(document).risk
        if risk.stop_loss is not None or (risk.trailing_stop is not None and not risk.trailing_stop.activation):
            found.append(document)
        seed += 1
    return found


@pytest.mark.parametrize("number", range(25))
def test_the_fills_are_those_of_the_bars(number: int, loop: VirtualLoop) -> None:
    strategy, bars = parse_strategy(documents()[number]), gapless(number)
    loop.moved = bars[0].open_time_ms / 1000
    found = run(loop, Session(loop, strategy, bars).run())
    expected = fills_on_bars(strategy, bars)
    assert [each[:-2] for each in found] == [each[:-2] for each in expected]
    assert fingerprint(found) == fingerprint(expected)
