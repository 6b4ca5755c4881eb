"""Executes a strategy on the exchange: the decisions of `Execution`, with fills that the exchange reports."""

from decimal import Decimal
from typing import NamedTuple

from shared.strategy.bars import DAY_MS, INTERVAL_MS, Bar, Side
from shared.strategy.decimals import ZERO, exact, quantised_quotient, round_to_tick
from shared.strategy.execution.outcome import EntryGuard, Fill, Position, Reason, StepOutcome
from shared.strategy.execution.position import (
    active_stop,
    open_position,
    to_trade,
    trailing_stop_price,
)
from shared.strategy.execution.snapshot import Day, PendingEntry
from shared.strategy.execution.steps import Execution, Step
from shared.strategy.series import Series


class DesiredTarget(NamedTuple):
    """A take-profit order that belongs to the position: its level, counted from 0, and its whole quantity."""

    level: int
    price: Decimal
    qty: Decimal


class ExchangeExecution(Execution):
    """Never fills anything: `on_close` decides, and `book_entry` and `book_close` book executions of the exchange.

    A decision stays pending until `end_entry`, or until the position is closed; while one is pending, no other is
    taken. Executions of a bar are to be booked before its close is stepped, as far as they are known. The snapshot
    is that of `Execution`, but `gross` of an open position is its cash flow, which is exact for an entry in parts.
    """

    @property
    def pending_entry(self) -> PendingEntry | None:
        return self._state.pending_entry

    @property
    def pending_exit(self) -> Reason | None:
        return self._state.pending_exit

    @property
    def opened_ms(self) -> int | None:
        """The open time of the newest bar that was stepped or in which an execution was booked."""
        return self._state.opened_ms

    # Bookings. `time_ms` is the open time of the bar in which the execution happened.

    def book_entry(self, time_ms: int, side: Side, qty: Decimal, price: Decimal, fee: Decimal) -> StepOutcome:
        """Book an execution that opens or enlarges the position. Stop and targets follow its average price.

        If no entry of this side is pending, stop and targets stay; a new position gets those that are percentages.
        """
        step, state = Step(), self._state
        with exact():
            self._enter_bar(time_ms)
            position = state.position
            assert position is None or position.side == side, "the exchange closes before it opens the other side"
            if position is None:
                self._set_position_terms(self.terms)
                position = state.position = self._opened(time_ms, side, qty, price)
                position.fees = ZERO
            else:
                self._enlarge(position, qty, price)
            position.fees += fee
            notional = price * qty
            position.gross -= notional if side == "LONG" else -notional
            step.fills.append(Fill(time_ms, "open", side, qty, price, fee, "entry"))
        return step.outcome()

    def end_entry(self) -> StepOutcome:
        """The pending entry gets no further fill: its order is done, or is not to be sent."""
        self._state.pending_entry = None
        return Step(dropped=True).outcome()

    def book_close(self, time_ms: int, qty: Decimal, price: Decimal, fee: Decimal, reason: Reason) -> StepOutcome:
        """Book an execution that closes `qty`, at most what is left; with the last part, the trade."""
        step, state = Step(), self._state
        position = state.position
        assert position is not None, "a close without a position"
        assert qty <= position.left, "more is closed than is left"
        with exact():
            self._enter_bar(time_ms)
            notional = price * qty
            position.left -= qty
            position.gross += notional if position.side == "LONG" else -notional
            position.fees += fee
            position.closed_notional += notional
            fill = Fill(time_ms, "close", position.side, qty, price, fee, reason)
            step.fills.append(fill)
            if not position.left:
                if reason != state.pending_exit and not self._has_closed(time_ms):
                    position.bars += 1  # it ends within a bar, as by stop or target, not at its open
                state.pending_exit = None
                self._end_trade(step, to_trade(position, fill, self.strategy.content_hash))
                self._correct_late_end(time_ms, step.trades[-1].pnl)
        return step.outcome()

    # What belongs on the exchange.

    def desired_stop(self) -> tuple[Decimal, Reason] | None:
        """Return the stop of the position as it is to stand now, with the reason of its fill.

        Its price has the tick of the newest instrument, which may be coarser than that of the position.
        """
        stop = active_stop(self._state.position) if self._state.position is not None else None
        tick = self.terms.instrument.tick_size
        if stop is None or tick == self._tick:
            return stop
        with exact():
            price = round_to_tick(stop[0], tick)
        return (price, stop[1]) if price else stop

    def provisional_stop(self, price: Decimal) -> Decimal | None:
        """Return the stop that the pending entry would get from a fill at this price; None without an entry."""
        entry = self._state.pending_entry
        if entry is None:
            return None
        with exact():
            stop = active_stop(open_position(entry, 0, price, self._risk, self.terms))
        return stop[0] if stop is not None else None

    def desired_targets(self) -> list[DesiredTarget]:
        """Return the targets of the position, filled or not. Parts below the minimum order are skipped; the level
        that takes the rest takes what the others leave."""
        position = self._state.position
        if position is None:
            return []
        targets, left = [], position.qty
        with exact():
            for level, target in enumerate(position.targets):
                if target.price is None:
                    break
                part = left if target.takes_rest else target.qty
                if part and part >= self._position_terms.instrument.min_order_qty:
                    targets.append(DesiredTarget(level, target.price, part))
                    left -= part
        return targets

    # Steps of a bar: no fills.

    def open_bar(self, step: Step, time_ms: int, open_price: Decimal) -> None:
        self._enter_bar(time_ms)

    def _apply_stops_and_targets(self, step: Step, position: Position, bar: Bar) -> None:
        position.bars += 1

    def _decide(self, step: Step, series: Series, index: int, bar: Bar, guard: EntryGuard | None) -> None:
        if not self.pending:
            super()._decide(step, series, index, bar, guard)

    def _enter_bar(self, time_ms: int) -> None:
        """Begin the bar, and its day, if an execution or a later bar has not begun it already."""
        state = self._state
        if state.opened_ms is None or time_ms > state.opened_ms:
            state.opened_ms = time_ms
        if state.day.number is None or time_ms // DAY_MS > state.day.number:
            state.day = Day(time_ms // DAY_MS, state.equity)

    def _has_closed(self, time_ms: int) -> bool:
        """Return whether the close of this bar is stepped already."""
        return self._state.closed_ms is not None and time_ms <= self._state.closed_ms

    def _correct_late_end(self, time_ms: int, pnl: Decimal) -> None:
        """Correct cooldown and day for a trade that is booked after the close or the day of the bar it ended in."""
        state = self._state
        if state.closed_ms is not None and self._has_closed(time_ms):
            closes = (state.closed_ms - time_ms) // INTERVAL_MS[self.strategy.interval] + 1
            state.cooldown = max(0, state.cooldown - closes)
        if state.day.number is not None and time_ms // DAY_MS < state.day.number:
            state.day = Day(state.day.number, state.day.equity + pnl, state.day.pnl - pnl)
            self._apply_daily_loss()

    def _opened(self, time_ms: int, side: Side, qty: Decimal, price: Decimal) -> Position:
        entry = self._state.pending_entry
        if entry is not None and entry.side == side:
            return open_position(entry._replace(qty=qty), time_ms, price, self._risk, self.terms)
        position = open_position(PendingEntry(side, qty, None, ()), time_ms, price, self._risk, self.terms)
        if self._risk.uses_indicators:
            position.stop, position.targets = None, ()
        return position

    def _enlarge(self, position: Position, qty: Decimal, price: Decimal) -> None:
        side, closed = position.side, position.closed_notional
        opened = closed - position.gross if side == "LONG" else closed + position.gross
        position.qty += qty
        position.left += qty
        if price != position.entry_price:
            position.entry_price = quantised_quotient(opened + price * qty, position.qty)
        entry = self._state.pending_entry
        if entry is None or entry.side != side:
            return
        again = open_position(
            entry._replace(qty=position.qty), position.entry_time, position.entry_price, self._risk, self.terms
        )
        position.stop, position.targets = again.stop, again.targets
        if position.bars == 0:
            position.extreme = position.entry_price
        position.trail = trailing_stop_price(side, position.entry_price, position.extreme, self._risk, self._tick)
