"""The gap between a live trade and its backtest's, split by hand."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from services.trading.drift import Drift, LiveTrade, compare_trades, total
from shared.strategy.execution.outcome import Trade

HOUR = 3_600_000
DECIDED = {10 * HOUR: 9 * HOUR, 20 * HOUR: 19 * HOUR}
PARTS = ("price", "fee", "funding", "latency", "missed_fill")


def live(**changes: Any) -> LiveTrade:
    """As the backtest's: 2 bought at 100, sold at 110, fees of 0.4."""
    facts: dict[str, Any] = {
        "trade_id": UUID(int=1),
        "side": "LONG",
        "decided_ms": 9 * HOUR,
        "entry_ms": 10 * HOUR,
        "exit_ms": 12 * HOUR,
        "quantity": Decimal(2),
        "entry_price": Decimal(100),
        "exit_price": Decimal(110),
        "fees": Decimal("0.4"),
        "funding": Decimal(0),
        "pnl": Decimal("19.6"),
        "executed_ms": 10 * HOUR + 140,
    }
    return LiveTrade(**{**facts, **changes})


def backtest(**changes: Any) -> Trade:
    facts: dict[str, Any] = {
        "side": "LONG",
        "entry_time": 10 * HOUR,
        "exit_time": 12 * HOUR,
        "entry_price": Decimal(100),
        "exit_price": Decimal(110),
        "qty": Decimal(2),
        "gross": Decimal(20),
        "fees": Decimal("0.4"),
        "pnl": Decimal("19.6"),
        "pnl_percentage": Decimal("9.8"),
        "reason": "signal",
        "strategy_hash": "",
        "bars": 2,
    }
    return Trade(**{**facts, **changes})


def only(trades: list[LiveTrade], others: list[Trade]) -> Drift:
    (drift,) = compare_trades(trades, others, DECIDED)
    assert sum(getattr(drift, part) for part in PARTS) == drift.gap
    return drift


def shown(drift: Drift) -> dict[str, Decimal]:
    return {part: getattr(drift, part) for part in PARTS if getattr(drift, part)}


def test_equal_trades_have_no_gap() -> None:
    drift = only([live()], [backtest()])
    assert drift.gap == 0
    assert not shown(drift)
    assert live().latency_ms(HOUR) == 140


def test_worse_prices_in_the_same_bars_are_price() -> None:
    worse = live(entry_price=Decimal("100.5"), exit_price=Decimal("109.7"), pnl=Decimal("18"))
    drift = only([worse], [backtest()])
    assert (drift.gap, shown(drift)) == (Decimal("-1.6"), {"price": Decimal("-1.6")})


def test_a_short_gains_where_it_enters_higher() -> None:
    short = {"side": "SHORT", "exit_price": Decimal(90)}
    drift = only([live(**short, entry_price=Decimal(101), pnl=Decimal("21.6"))], [backtest(**short)])
    assert shown(drift) == {"price": Decimal(2)}


def test_fees_and_funding_stand_apart() -> None:
    costly = live(fees=Decimal("0.7"), pnl=Decimal("19.3"), funding=Decimal("0.25"))
    drift = only([costly], [backtest()])
    assert drift.gap == Decimal("-0.55")
    assert shown(drift) == {"fee": Decimal("-0.3"), "funding": Decimal("-0.25")}


def test_an_entry_in_a_later_bar_is_latency_and_the_exit_beside_it_price() -> None:
    late = live(entry_ms=11 * HOUR, entry_price=Decimal(103), exit_price=Decimal(109), pnl=Decimal("11.6"))
    drift = only([late], [backtest()])
    assert shown(drift) == {"latency": Decimal(-6), "price": Decimal(-2)}


def test_an_entry_that_was_filled_in_part_misses_its_share_of_the_backtest() -> None:
    part = live(quantity=Decimal("0.5"), fees=Decimal("0.1"), pnl=Decimal("4.9"))
    drift = only([part], [backtest()])
    assert shown(drift) == {"missed_fill": Decimal("-14.7")}


def test_a_trade_that_only_one_has_is_a_missed_fill() -> None:
    missed = only([], [backtest()])
    assert (missed.live, shown(missed)) == (None, {"missed_fill": Decimal("-19.6")})
    adopted = only([live(decided_ms=None, funding=Decimal(1))], [])
    assert shown(adopted) == {"missed_fill": Decimal("19.6"), "funding": Decimal(-1)}


def test_trades_are_paired_by_the_decision_of_their_entry_and_summed() -> None:
    later = backtest(entry_time=20 * HOUR, exit_time=21 * HOUR, pnl=Decimal(5))
    drifts = compare_trades([live(pnl=Decimal("19.5"))], [later, backtest()], DECIDED)
    assert [(drift.live is None, drift.gap) for drift in drifts] == [(False, Decimal("-0.1")), (True, Decimal(-5))]
    assert (total(drifts).gap, total(drifts).missed_fill) == (Decimal("-5.1"), Decimal(-5))
