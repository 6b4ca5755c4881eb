"""One strategy executed bar after bar: the same steps in a backtest, on paper and for the exchange."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from shared.strategy.bars import DAY_MS, Bar, Instrument, Terms
from shared.strategy.decimals import ZERO, exact, fill_price, percent_of
from shared.strategy.document.parse import Strategy
from shared.strategy.execution.decisions import (
    Signals,
    entry_decision,
    exit_decision,
    forbidden_decision,
    prohibition,
    sized_entry,
)
from shared.strategy.execution.outcome import (
    NOTHING,
    Decision,
    EntryGuard,
    Fill,
    Position,
    Reason,
    StepOutcome,
    Trade,
)
from shared.strategy.execution.position import (
    close_part,
    is_hit,
    open_position,
    slipped,
    standing_stop,
    to_trade,
    track_extreme,
)
from shared.strategy.execution.sizing import Sizing
from shared.strategy.execution.snapshot import Day, State, dump, dump_instruments, load, load_instruments
from shared.strategy.series import Series


@dataclass(slots=True)
class Step:
    """What the running step has brought about so far."""

    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    level_spent: bool = False
    dropped: bool = False

    def outcome(self) -> StepOutcome:
        if not (self.fills or self.decisions or self.level_spent or self.dropped):
            return NOTHING
        return StepOutcome(
            tuple(self.fills), tuple(self.trades), tuple(self.decisions), self.level_spent, self.dropped
        )


class Execution:
    """The state of one strategy on one series; steps go forward only."""

    def __init__(
        self,
        strategy: Strategy,
        terms: Terms,
        first_bar_ms: int | None = None,
        *,
        explains: bool = True,
        tells_forbidden: bool = False,
    ) -> None:
        """`explains`: whether decisions are told, with their evidence; `tells_forbidden`: also an entry at a close
        where none is allowed at all. What they lead to is the same."""
        self._tells_forbidden = tells_forbidden
        self._explains = explains
        self.strategy = strategy
        self.terms = terms  # of entries decided from now on
        self._given = self._of_position = terms
        self.first_bar_ms = first_bar_ms
        self._risk = strategy.risk
        self._sizing = Sizing(strategy.risk, terms)
        self._tick = terms.instrument.tick_size
        self._specs = tuple(strategy.indicators.values())
        self._first_decision: int | None = None
        self._signals: Signals | None = None
        self._state = State(equity=terms.initial_balance)

    @classmethod
    def restore(
        cls,
        strategy: Strategy,
        terms: Terms,
        first_bar_ms: int | None,
        snapshot: Mapping[str, object],
        *,
        tells_forbidden: bool = False,
    ) -> "Execution":
        """The execution as `snapshot()` left it; ValueError where that was of another strategy or version."""
        execution = cls(strategy, terms, first_bar_ms, tells_forbidden=tells_forbidden)
        execution._state = load(snapshot, strategy.content_hash)
        if (instruments := load_instruments(snapshot)) is not None:
            entries, of_position = (replace(terms, instrument=each) for each in instruments)
            execution._enter_by(entries)
            execution._hold_by(of_position)
        return execution

    def snapshot(self) -> dict[str, object]:
        """JSON-able, decimals as strings, versioned."""
        snapshot = dump(self._state, self.strategy.content_hash)
        if self.terms != self._given or self._of_position != self._given:
            snapshot |= dump_instruments(self.terms.instrument, self._of_position.instrument)
        return snapshot

    @property
    def equity(self) -> Decimal:
        """Initial balance + Σ pnl of the finished trades."""
        return self._state.equity

    @property
    def position(self) -> Position | None:
        """What is open; for reading only."""
        return self._state.position

    @property
    def pending(self) -> bool:
        """Whether an order waits for the next open."""
        return self._state.pending_exit is not None or self._state.pending_entry is not None

    @property
    def closed_ms(self) -> int | None:
        """The open time of the last bar that it stepped through to the end."""
        return self._state.closed_ms

    @property
    def cooldown(self) -> int:
        """The closes that still pass without an entry decision."""
        return self._state.cooldown

    @property
    def stopped_day(self) -> int | None:
        """The UTC day, by its number, on which losses forbid further entries."""
        return self._state.day.number if self._state.day.stopped else None

    def on_open(self, time_ms: int, open_price: Decimal) -> StepOutcome:
        """Step 1: what was decided at the last close fills. Done already for this bar, it does nothing."""
        state = self._state
        if state.opened_ms is not None and time_ms <= state.opened_ms:
            if time_ms == state.opened_ms and time_ms != state.closed_ms:
                return NOTHING
            raise ValueError(f"bar {time_ms} was stepped through already")
        step = Step()
        with exact():
            self.open_bar(step, time_ms, open_price)
        return step.outcome()

    def on_close(
        self,
        series: Series,
        t: int | None = None,
        guard: EntryGuard | None = None,
        instrument: Instrument | None = None,
    ) -> StepOutcome:
        """Steps 2 and 3 for bar t, the series' last by default; step 1 before them if it was not done. `instrument`
        is what entries are sized and filled by if they are decided at this close or later; None: as before."""
        index = len(series) - 1 if t is None else t
        time_ms = series.bar(index).open_time_ms
        closed_ms = self._state.closed_ms
        if closed_ms is not None and time_ms <= closed_ms:
            raise ValueError(f"bar {time_ms} was stepped through already")
        if self.is_quiet(series, index):
            self._adopt(instrument)
            self.skip_bars(series, index, index + 1)
            return NOTHING
        step = Step()
        with exact():
            self.close_bar(step, series, index, guard, instrument)
        return step.outcome()

    def _adopt(self, instrument: Instrument | None) -> None:
        """After the bar's open: what was decided before it is filled, and is held by what it was decided by."""
        if instrument is None or instrument == self.terms.instrument:
            return
        self._enter_by(replace(self.terms, instrument=instrument))
        if self._state.position is None:
            self._hold_by(self.terms)

    def _enter_by(self, terms: Terms) -> None:
        self.terms = terms
        self._sizing = Sizing(self._risk, terms)

    def _hold_by(self, terms: Terms) -> None:
        self._of_position = terms
        self._tick = terms.instrument.tick_size

    def open_bar(self, step: Step, time_ms: int, open_price: Decimal) -> None:
        """Step 1: what is pending fills; to be called inside `exact()`."""
        state, terms = self._state, self.terms
        state.opened_ms = time_ms
        if time_ms // DAY_MS != state.day.number:
            state.day = Day(time_ms // DAY_MS, state.equity)
        position, reason, entry = state.position, state.pending_exit, state.pending_entry
        state.pending_exit = state.pending_entry = None
        if reason is not None and position is not None:
            price = slipped(open_price, position.side == "SHORT", self._of_position)
            self._close(step, position, position.left, time_ms, price, reason)
        if entry is None:
            return
        if state.equity <= ZERO:
            step.dropped = True
            return
        if self._of_position is not terms:
            self._hold_by(terms)
        price = slipped(open_price, entry.side == "LONG", terms)
        position = open_position(entry, time_ms, price, self._risk, terms)
        step.fills.append(Fill(time_ms, "open", entry.side, entry.qty, price, position.fees, "entry"))
        state.position = position

    def close_bar(
        self,
        step: Step,
        series: Series,
        index: int,
        guard: EntryGuard | None = None,
        instrument: Instrument | None = None,
    ) -> None:
        """The three steps of a bar, or what is left of them; to be called inside `exact()`."""
        state, bar = self._state, series.bar(index)
        time_ms = bar.open_time_ms
        if state.opened_ms != time_ms:
            self.open_bar(step, time_ms, bar.open)
        state.closed_ms = time_ms
        self._adopt(instrument)
        if state.position is not None:
            self._within_bar(step, state.position, bar)
        if state.position is not None:
            track_extreme(state.position, (bar,), self._risk, self._tick)
        if self._may_decide(series, index, time_ms):
            self._decide(step, series, index, bar, guard)
        if state.cooldown > 0:
            state.cooldown -= 1

    def is_quiet(self, series: Series, index: int) -> bool:
        """Whether nothing can happen on this bar but that it passes. False says that something may."""
        state = self._state
        position = state.position
        if state.pending_entry is not None or state.pending_exit is not None:
            return False
        if position is None:
            passes = state.cooldown > 0 and not self._tells_forbidden
            return passes or self._signals_on(series).side_to_enter(index) is None
        if self._risk.trailing_stop is not None:
            return False  # it moves within the bar
        bar, risk = series.bar(index), self._risk
        long = position.side == "LONG"
        worst, best = (min(bar.open, bar.low), max(bar.open, bar.high))
        if not long:
            worst, best = best, worst
        if position.stop is not None and is_hit(not long, worst, position.stop):
            return False
        if position.spent < len(position.targets):
            target = position.targets[position.spent].price
            if target is not None and is_hit(long, best, target):
                return False
        if risk.max_bars is not None and position.bars + 1 >= risk.max_bars:
            return False
        return not self._signals_on(series).leaves(position.side, index)

    def skip_bars(self, series: Series, start: int, stop: int) -> None:
        """Bars start … stop - 1, of which the caller knows that nothing happens on them, all at once."""
        state = self._state
        time_ms = series.bar(stop - 1).open_time_ms
        state.opened_ms = state.closed_ms = time_ms
        if time_ms // DAY_MS != state.day.number:
            state.day = Day(time_ms // DAY_MS, state.equity)
        position = state.position
        if position is not None:
            position.bars += stop - start
            if self._risk.trailing_stop is not None:
                with exact():
                    track_extreme(position, series.bars[start:stop], self._risk, self._tick)
        if state.cooldown > 0:
            state.cooldown = max(0, state.cooldown - (stop - start))

    def stop(self, time_ms: int, price: Decimal, reason: Reason) -> StepOutcome:
        """Drops what is pending and closes what is open at this price, without slippage."""
        state = self._state
        step = Step(dropped=self.pending)
        state.pending_entry = state.pending_exit = None
        if state.position is not None:
            with exact():
                price = fill_price(price, self._tick)
                self._close(step, state.position, state.position.left, time_ms, price, reason)
        return step.outcome()

    # Step 2: stops and targets.

    def _within_bar(self, step: Step, position: Position, bar: Bar) -> None:
        position.bars += 1
        long = position.side == "LONG"
        adverse, favourable = (bar.low, bar.high) if long else (bar.high, bar.low)
        standing = standing_stop(position)
        if standing is not None and is_hit(not long, bar.open, standing[0]):
            price = slipped(bar.open, not long, self._of_position)
            self._close(step, position, position.left, bar.open_time_ms, price, standing[1])
            return
        self._take_profits(step, position, bar, bar.open, at_open=True)
        if self._state.position is None:
            return
        if standing is not None and is_hit(not long, adverse, standing[0]):
            price = slipped(standing[0], not long, self._of_position)
            self._close(step, position, position.left, bar.open_time_ms, price, standing[1])
            return
        self._take_profits(step, position, bar, favourable, at_open=False)

    def _take_profits(self, step: Step, position: Position, bar: Bar, reached: Decimal, at_open: bool) -> None:
        while position.left and position.spent < len(position.targets):
            target = position.targets[position.spent]
            if target.price is None or not is_hit(position.side == "LONG", reached, target.price):
                return
            position.spent += 1
            step.level_spent = True
            part = position.left if target.takes_rest else target.qty
            if part and part >= self._of_position.instrument.min_order_qty:
                price = fill_price(reached, self._tick) if at_open else target.price
                self._close(step, position, part, bar.open_time_ms, price, "take_profit")

    # Step 3: at the close.

    def _signals_on(self, series: Series) -> Signals:
        signals = self._signals
        if signals is None or signals.series is not series:
            signals = self._signals = Signals(self.strategy, series)
        return signals

    def _may_decide(self, series: Series, index: int, time_ms: int) -> bool:
        """Whether the bar is at or after the first decision bar."""
        if self.first_bar_ms is not None and time_ms < self.first_bar_ms:
            return False
        if self._first_decision is None:
            self._first_decision = series.first_defined(self._specs)
        return self._first_decision is not None and index >= self._first_decision

    def _decide(self, step: Step, series: Series, index: int, bar: Bar, guard: EntryGuard | None) -> None:
        state, strategy = self._state, self.strategy
        leaving = state.position
        if leaving is not None:
            reason = self._reason_to_leave(leaving, series, index, bar)
            if reason is None:
                return
            state.pending_exit = reason
            if self._explains:
                step.decisions.append(exit_decision(strategy, series, index, leaving, reason))
            if strategy.side != "BOTH" or self._risk.cooldown_bars > 0:
                return
        forbidden = prohibition(self._risk, state)
        if forbidden is not None and not self._tells_forbidden:
            return
        side = self._signals_on(series).side_to_enter(index)
        if side is None or (leaving is not None and side == leaving.side):
            return
        if forbidden is not None:
            step.decisions.append(forbidden_decision(strategy, series, index, side, forbidden))
            return
        sized = sized_entry(strategy, self._sizing, state.equity, series, index, side, guard)
        state.pending_entry = sized.order
        if self._explains:
            guarded = guard is not None
            step.decisions.append(entry_decision(strategy, series, index, side, sized, guarded))

    def _reason_to_leave(self, position: Position, series: Series, index: int, bar: Bar) -> Reason | None:
        if position.trail is not None and is_hit(position.side == "SHORT", bar.close, position.trail):
            return "trailing_stop"
        if self._signals_on(series).leaves(position.side, index):
            return "signal"
        if self._risk.max_bars is not None and position.bars >= self._risk.max_bars:
            return "time"
        return None

    # Closing.

    def _close(
        self, step: Step, position: Position, qty: Decimal, time_ms: int, price: Decimal, reason: Reason
    ) -> None:
        fill = close_part(position, time_ms, price, qty, reason, self._of_position)
        step.fills.append(fill)
        if position.left:
            return
        trade = to_trade(position, fill, self.strategy.content_hash)
        step.trades.append(trade)
        state = self._state
        state.position = None
        state.cooldown = self._risk.cooldown_bars
        state.equity += trade.pnl
        state.day.pnl += trade.pnl
        limit = self._risk.max_daily_loss_percentage
        if limit is not None and state.day.pnl <= -state.day.equity * percent_of(limit):
            state.day.stopped = True
