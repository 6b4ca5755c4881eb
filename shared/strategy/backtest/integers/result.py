"""A booking in integers as a report in decimals."""

from decimal import Decimal

import numpy as np

from shared.statistics import fraction
from shared.strategy.backtest.integers import kernel, lines
from shared.strategy.backtest.integers.booking import Booking
from shared.strategy.backtest.integers.scales import MONEY
from shared.strategy.backtest.metrics import Totals, days_from, metrics_of
from shared.strategy.backtest.report import BacktestReport, FillsAndTrades
from shared.strategy.bars import Side, Terms
from shared.strategy.decimals import ZERO, exact
from shared.strategy.execution.outcome import Fill, Position, Trade
from shared.strategy.execution.position import close_part, to_trade
from shared.strategy.series import Series
from shared.strategy.ticks import Integers

_MONEY_PLACES = 8
_HALF_WORD = 32


def report_of(
    booking: Booking, strategy_hash: str, series: Series, terms: Terms, first: int | None, *, given_start: bool
) -> BacktestReport:
    totals = _totals(booking, series, terms, first if given_start else 0)
    return BacktestReport(
        metrics=metrics_of(series, totals, terms.initial_balance, first),
        final_equity=_money(booking.equity),
        fingerprint=booking.fingerprint,
        first_decision=first,
        total_fills=len(booking.fills),
        total_trades=len(booking.trades),
        arithmetic="integer",
        build=lambda: _fills_and_trades(booking, strategy_hash, terms),
    )


def _money(units: int) -> Decimal:
    return Decimal(units).scaleb(-_MONEY_PLACES)


def _totals(booking: Booking, series: Series, terms: Terms, start: int | None) -> Totals:
    pnls = booking.trades[:, kernel.TRADE_PNL]
    drawdown = fraction(Decimal(booking.fall), Decimal(booking.below))
    days, returns = _daily_returns(booking, series, terms, start)
    instrument = terms.instrument
    with exact():
        notional = Decimal(_sum(booking.trades[:, kernel.TRADE_NOTIONAL]))
        return Totals(
            trades=len(pnls),
            won=int(np.count_nonzero(pnls > 0)),
            bars=_sum(booking.trades[:, kernel.TRADE_BARS]),
            gains=_money(_sum(pnls[pnls > 0])),
            losses=_money(-_sum(pnls[pnls < 0])),
            fees=notional * instrument.tick_size * instrument.qty_step * terms.fee,
            drawdown_pct=None if drawdown is None else drawdown * 100,
            days=days,
            returns=returns,
        )


def _sum(values: Integers) -> int:
    """Return the exact sum, which may have more than 64 bits."""
    return (int((values >> _HALF_WORD).sum()) << _HALF_WORD) + int((values & (2**_HALF_WORD - 1)).sum())


def _daily_returns(
    booking: Booking, series: Series, terms: Terms, start: int | None
) -> tuple[int, list[float] | None]:
    """Return the number of days and their returns: quotients of integers, which Python rounds once."""
    first, count = days_from(series, start)
    daily = np.zeros(count, dtype=np.int64)
    days = booking.ticks.days[booking.trades[:, kernel.TRADE_EXIT_BAR]] - first
    np.add.at(daily, days, booking.trades[:, kernel.TRADE_PNL])
    equity, returns = int(terms.initial_balance * MONEY), []
    for pnl in daily.tolist():
        if equity <= 0:
            return count, None
        returns.append(pnl / equity)
        equity += pnl
    return count, returns


def _fills_and_trades(booking: Booking, strategy_hash: str, terms: Terms) -> FillsAndTrades:
    """Build fills and trades with the arithmetic of the execution, from bars, quantities and prices."""
    fills: list[Fill] = []
    trades: list[Trade] = []
    tick, step = terms.instrument.tick_size, terms.instrument.qty_step
    bars = booking.trades[:, kernel.TRADE_BARS].tolist()
    position: Position | None = None
    with exact():
        for bar, side, code, steps, ticks in booking.fills.tolist():
            time_ms, qty, price = int(booking.ticks.times[bar]), steps * step, ticks * tick
            if code == kernel.ENTRY:
                position = _opened(time_ms, "LONG" if side > 0 else "SHORT", qty, price, terms)
                fills.append(Fill(time_ms, "open", position.side, qty, price, position.fees, "entry"))
                continue
            assert position is not None, "a close follows its entry"
            fills.append(close_part(position, time_ms, price, qty, lines.REASONS[code], terms))
            if not position.left:
                position.bars = bars[len(trades)]
                trades.append(to_trade(position, fills[-1], strategy_hash))
    return tuple(fills), tuple(trades)


def _opened(time_ms: int, side: Side, qty: Decimal, price: Decimal, terms: Terms) -> Position:
    fee = price * qty * terms.fee
    return Position(side, time_ms, price, qty, qty, ZERO, fee, ZERO, None, None, price, (), 0, 0)
