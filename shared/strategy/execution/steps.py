"""Executes a strategy bar by bar: the same steps in a backtest, in paper trading and on the exchange."""

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
    find_prohibition,
    forbidden_decision,
    size_entry,
)
from shared.strategy.execution.outcome import (
    NO_OUTCOME,
    Decision,
    EntryGuard,
    Fill,
    Position,
    Reason,
    StepOutcome,
    Trade,
)
from shared.strategy.execution.position import (
    active_stop,
    apply_slippage,
    close_part,
    is_hit,
    open_position,
    to_trade,
    track_extreme,
)
from shared.strategy.execution.sizing import Sizing
from shared.strategy.execution.snapshot import Day, State, dump, dump_instruments, load, load_instruments
from shared.strategy.series import Series


@dataclass(slots=True)
class Step:
    """The outcome of the current step so far."""

    fills: list[Fill] = field(default_factory=list)
    trades: list[Trade] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    level_spent: bool = False
    dropped: bool = False

    def outcome(self) -> StepOutcome:
        if not (self.fills or self.decisions or self.level_spent or self.dropped):
            return NO_OUTCOME
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
        record_decisions: bool = True,
        report_forbidden: bool = False,
    ) -> None:
        """`record_decisions`: whether outcomes contain decisions with their evidence. `report_forbidden`: whether
        they also contain the entries at closes where no entry is allowed. Fills are the same either way."""
        self._report_forbidden = report_forbidden
        self._record_decisions = record_decisions
        self.strategy = strategy
        self.terms = terms  # for entries decided from now on
        self._initial_terms = self._position_terms = terms
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
        report_forbidden: bool = False,
    ) -> "Execution":
        """Restore the execution from `snapshot()`. Raises ValueError if that has another strategy or version."""
        execution = cls(strategy, terms, first_bar_ms, report_forbidden=report_forbidden)
        execution._state = load(snapshot, strategy.content_hash)
        if (instruments := load_instruments(snapshot)) is not None:
            entries, position_terms = (replace(terms, instrument=each) for each in instruments)
            execution._set_entry_terms(entries)
            execution._set_position_terms(position_terms)
        return execution

    def snapshot(self) -> dict[str, object]:
        """Return the state as JSON values, with a version; decimals are strings."""
        snapshot = dump(self._state, self.strategy.content_hash)
        if self.terms != self._initial_terms or self._position_terms != self._initial_terms:
            snapshot |= dump_instruments(self.terms.instrument, self._position_terms.instrument)
        return snapshot

    @property
    def equity(self) -> Decimal:
        """The initial balance plus the pnl of all finished trades."""
        return self._state.equity

    @property
    def position(self) -> Position | None:
        """The open position, read-only."""
        return self._state.position

    @property
    def pending(self) -> bool:
        """True if an order is pending for the next open."""
        return self._state.pending_exit is not None or self._state.pending_entry is not None

    @property
    def closed_ms(self) -> int | None:
        """The open time of the last bar with all three steps done."""
        return self._state.closed_ms

    @property
    def cooldown(self) -> int:
        """The number of closes left without an entry decision."""
        return self._state.cooldown

    @property
    def stopped_day(self) -> int | None:
        """The UTC day (days since 1970) on which losses forbid further entries; None if they do not."""
        return self._state.day.number if self._state.day.stopped else None

    def on_open(self, time_ms: int, open_price: Decimal) -> StepOutcome:
        """Step 1: fill the orders decided at the last close. Does nothing if that is done for this bar already."""
        state = self._state
        if state.opened_ms is not None and time_ms <= state.opened_ms:
            if time_ms == state.opened_ms and time_ms != state.closed_ms:
                return NO_OUTCOME
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
        """Run steps 2 and 3 of bar t, by default the last: stops and targets, then decisions. Runs step 1 first if
        it is not done.

        `instrument` sizes and fills the entries decided at this close or later; None leaves it unchanged.
        """
        index = len(series) - 1 if t is None else t
        time_ms = series.bar(index).open_time_ms
        closed_ms = self._state.closed_ms
        if closed_ms is not None and time_ms <= closed_ms:
            raise ValueError(f"bar {time_ms} was stepped through already")
        if self.is_quiet(series, index):
            self._adopt_instrument(instrument)
            self.skip_bars(series, index, index + 1)
            return NO_OUTCOME
        step = Step()
        with exact():
            self.close_bar(step, series, index, guard, instrument)
        return step.outcome()

    def _adopt_instrument(self, instrument: Instrument | None) -> None:
        """Use a new instrument for entries from this close on. An open position keeps its own."""
        if instrument is None or instrument == self.terms.instrument:
            return
        self._set_entry_terms(replace(self.terms, instrument=instrument))
        if self._state.position is None:
            self._set_position_terms(self.terms)

    def _set_entry_terms(self, terms: Terms) -> None:
        self.terms = terms
        self._sizing = Sizing(self._risk, terms)

    def _set_position_terms(self, terms: Terms) -> None:
        self._position_terms = terms
        self._tick = terms.instrument.tick_size

    def open_bar(self, step: Step, time_ms: int, open_price: Decimal) -> None:
        """Step 1: fill the pending orders. Call it inside `exact()`."""
        state, terms = self._state, self.terms
        state.opened_ms = time_ms
        if time_ms // DAY_MS != state.day.number:
            state.day = Day(time_ms // DAY_MS, state.equity)
        position, reason, entry = state.position, state.pending_exit, state.pending_entry
        state.pending_exit = state.pending_entry = None
        if reason is not None and position is not None:
            price = apply_slippage(open_price, position.side == "SHORT", self._position_terms)
            self._close(step, position, position.left, time_ms, price, reason)
        if entry is None:
            return
        if state.equity <= ZERO:
            step.dropped = True
            return
        if self._position_terms is not terms:
            self._set_position_terms(terms)
        price = apply_slippage(open_price, entry.side == "LONG", terms)
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
        """Run the steps of a bar that are not done yet. Call it inside `exact()`."""
        state, bar = self._state, series.bar(index)
        time_ms = bar.open_time_ms
        if state.opened_ms != time_ms:
            self.open_bar(step, time_ms, bar.open)
        state.closed_ms = time_ms
        self._adopt_instrument(instrument)
        if state.position is not None:
            self._apply_stops_and_targets(step, state.position, bar)
        if state.position is not None:
            track_extreme(state.position, (bar,), self._risk, self._tick)
        if self._may_decide(series, index, time_ms):
            self._decide(step, series, index, bar, guard)
        if state.cooldown > 0:
            state.cooldown -= 1

    def is_quiet(self, series: Series, index: int) -> bool:
        """Return whether it is certain that nothing happens on this bar; False means that something may."""
        state = self._state
        position = state.position
        if state.pending_entry is not None or state.pending_exit is not None:
            return False
        if position is None:
            passes = state.cooldown > 0 and not self._report_forbidden
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
        return not self._signals_on(series).should_exit(position.side, index)

    def skip_bars(self, series: Series, start: int, stop: int) -> None:
        """Skip bars start … stop - 1 at once. The caller must know that nothing happens on them."""
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
        """Drop pending orders, and close an open position at this price without slippage."""
        state = self._state
        step = Step(dropped=self.pending)
        state.pending_entry = state.pending_exit = None
        if state.position is not None:
            with exact():
                price = fill_price(price, self._tick)
                self._close(step, state.position, state.position.left, time_ms, price, reason)
        return step.outcome()

    # Step 2: stops and targets.

    def _apply_stops_and_targets(self, step: Step, position: Position, bar: Bar) -> None:
        position.bars += 1
        long = position.side == "LONG"
        adverse, favourable = (bar.low, bar.high) if long else (bar.high, bar.low)
        active = active_stop(position)
        if active is not None and is_hit(not long, bar.open, active[0]):
            price = apply_slippage(bar.open, not long, self._position_terms)
            self._close(step, position, position.left, bar.open_time_ms, price, active[1])
            return
        self._take_profits(step, position, bar, bar.open, at_open=True)
        if self._state.position is None:
            return
        if active is not None and is_hit(not long, adverse, active[0]):
            price = apply_slippage(active[0], not long, self._position_terms)
            self._close(step, position, position.left, bar.open_time_ms, price, active[1])
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
            if part and part >= self._position_terms.instrument.min_order_qty:
                price = fill_price(reached, self._tick) if at_open else target.price
                self._close(step, position, part, bar.open_time_ms, price, "take_profit")

    # Step 3: at the close.

    def _signals_on(self, series: Series) -> Signals:
        signals = self._signals
        if signals is None or signals.series is not series:
            signals = self._signals = Signals(self.strategy, series)
        return signals

    def _may_decide(self, series: Series, index: int, time_ms: int) -> bool:
        """Return whether the bar is at or after the first decision bar."""
        if self.first_bar_ms is not None and time_ms < self.first_bar_ms:
            return False
        if self._first_decision is None:
            self._first_decision = series.first_defined(self._specs)
        return self._first_decision is not None and index >= self._first_decision

    def _decide(self, step: Step, series: Series, index: int, bar: Bar, guard: EntryGuard | None) -> None:
        state, strategy = self._state, self.strategy
        closing = state.position
        if closing is not None:
            reason = self._exit_reason(closing, series, index, bar)
            if reason is None:
                return
            state.pending_exit = reason
            if self._record_decisions:
                step.decisions.append(exit_decision(strategy, series, index, closing, reason))
            if strategy.side != "BOTH" or self._risk.cooldown_bars > 0:
                return
        forbidden = find_prohibition(self._risk, state)
        if forbidden is not None and not self._report_forbidden:
            return
        side = self._signals_on(series).side_to_enter(index)
        if side is None or (closing is not None and side == closing.side):
            return
        if forbidden is not None:
            step.decisions.append(forbidden_decision(strategy, series, index, side, forbidden))
            return
        sized = size_entry(strategy, self._sizing, state.equity, series, index, side, guard)
        state.pending_entry = sized.order
        if self._record_decisions:
            guarded = guard is not None
            step.decisions.append(entry_decision(strategy, series, index, side, sized, guarded))

    def _exit_reason(self, position: Position, series: Series, index: int, bar: Bar) -> Reason | None:
        if position.trail is not None and is_hit(position.side == "SHORT", bar.close, position.trail):
            return "trailing_stop"
        if self._signals_on(series).should_exit(position.side, index):
            return "signal"
        if self._risk.max_bars is not None and position.bars >= self._risk.max_bars:
            return "time"
        return None

    # Closing.

    def _close(
        self, step: Step, position: Position, qty: Decimal, time_ms: int, price: Decimal, reason: Reason
    ) -> None:
        fill = close_part(position, time_ms, price, qty, reason, self._position_terms)
        step.fills.append(fill)
        if not position.left:
            self._end_trade(step, to_trade(position, fill, self.strategy.content_hash))

    def _end_trade(self, step: Step, trade: Trade) -> None:
        step.trades.append(trade)
        state = self._state
        state.position = None
        state.cooldown = self._risk.cooldown_bars
        state.equity += trade.pnl
        state.day.pnl += trade.pnl
        self._apply_daily_loss()

    def _apply_daily_loss(self) -> None:
        state = self._state
        limit = self._risk.max_daily_loss_percentage
        if limit is not None and state.day.pnl <= -state.day.equity * percent_of(limit):
            state.day.stopped = True
