"""The rules of trading."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest

from services.trading.domain import (
    ConfigurationLimits,
    PlanLimits,
    RunningSession,
    SessionTotals,
    entry_deadline,
    entry_guard,
    exceeded_limit,
    is_late,
    sessions_within,
)
from shared.strategy.execution.outcome import EntryProposal

ENTRY = EntryProposal("LONG", Decimal(2), Decimal(100), Decimal(200), Decimal("1.5"), (Decimal(2), Decimal(4)))
DUE = datetime(2026, 1, 1, tzinfo=UTC)


def session(number: int, strategy: int, symbol: str = "BTCUSDT") -> RunningSession:
    return RunningSession(UUID(int=number), UUID(int=strategy), symbol)


def plan(strategies: int | None, symbols: int | None) -> PlanLimits:
    return PlanLimits("FREE", 1, strategies, symbols)


def test_a_running_strategy_counts_once_towards_the_limit() -> None:
    running = [session(1, 1, "BTCUSDT")]
    assert exceeded_limit(plan(1, 2), running, session(2, 1, "ETHUSDT")) is None
    exceeded = exceeded_limit(plan(1, 2), running, session(2, 2))
    assert exceeded is not None
    assert (exceeded.name, exceeded.limit, exceeded.used) == ("max_active_strategies", 1, 1)


def test_symbols_are_counted_separately_from_strategies() -> None:
    exceeded = exceeded_limit(plan(None, 1), [session(1, 1, "BTCUSDT")], session(2, 2, "ETHUSDT"))
    assert exceeded is not None
    assert exceeded.name == "max_symbols"


def test_without_limits_nothing_is_exceeded() -> None:
    running = [session(number, number, f"S{number}USDT") for number in range(100)]
    assert exceeded_limit(plan(None, None), running, session(200, 200, "XUSDT")) is None


def test_the_sessions_started_first_stay_within_a_smaller_plan() -> None:
    running = [session(1, 1), session(2, 2), session(3, 1), session(4, 1, "ETHUSDT")]
    assert sessions_within(plan(1, 1), running) == {UUID(int=1), UUID(int=3)}


@pytest.mark.parametrize(
    ("limits", "refusal"),
    [
        (ConfigurationLimits(), None),
        (ConfigurationLimits(max_position_size=Decimal(200)), None),
        (ConfigurationLimits(max_position_size=Decimal("199.99")), "max_position_size"),
        (ConfigurationLimits(stop_loss_percentage=Decimal("1.5")), None),
        (ConfigurationLimits(stop_loss_percentage=Decimal("1.4")), "stop_loss_percentage"),
        (ConfigurationLimits(min_stop_distance_percentage=Decimal("1.5")), None),
        (ConfigurationLimits(min_stop_distance_percentage=Decimal("1.6")), "min_stop_distance_percentage"),
        (ConfigurationLimits(take_profit_percentage=Decimal(4)), None),
        (ConfigurationLimits(take_profit_percentage=Decimal(3)), "take_profit_percentage"),
    ],
)
def test_an_entry_beyond_a_limit_is_refused_with_the_name_of_the_limit(
    limits: ConfigurationLimits, refusal: str | None
) -> None:
    assert limits.refusal(ENTRY) == refusal


def test_with_a_limit_on_the_stop_an_entry_without_a_stop_is_refused() -> None:
    naked = EntryProposal("LONG", Decimal(2), Decimal(100), Decimal(200), None, ())
    assert ConfigurationLimits(stop_loss_percentage=Decimal(50)).refusal(naked) == "stop_loss_percentage"
    assert ConfigurationLimits(min_stop_distance_percentage=Decimal(1)).refusal(naked) is None


def test_a_pause_and_a_lapsed_plan_refuse_every_entry() -> None:
    assert entry_guard("ALLOWED", ConfigurationLimits())(ENTRY) is None
    assert entry_guard("PAUSED", ConfigurationLimits())(ENTRY) == "paused"
    assert entry_guard("PLAN_LIMIT", ConfigurationLimits())(ENTRY) == "plan_limit"


@pytest.mark.parametrize(("interval", "seconds"), [("1", 6), ("3", 18), ("5", 20), ("D", 20)])
def test_the_deadline_is_a_tenth_of_the_interval_and_at_most_twenty_seconds(interval: str, seconds: int) -> None:
    assert entry_deadline(interval) == timedelta(seconds=seconds)
    assert not is_late(DUE + timedelta(seconds=seconds), DUE, interval)
    assert is_late(DUE + timedelta(seconds=seconds, milliseconds=1), DUE, interval)


def test_totals_include_each_trade_and_the_deepest_drawdown() -> None:
    totals = SessionTotals(0, 0, 0, Decimal(0), Decimal(1000), Decimal(0))
    for pnl in ("100", "-220", "0", "330"):
        totals = totals.with_trade(Decimal(pnl), Decimal(1000))
    assert (totals.total_trades, totals.winning_trades, totals.losing_trades) == (4, 2, 1)
    assert (totals.total_pnl, totals.highest_equity) == (Decimal(210), Decimal(1210))
    assert totals.max_drawdown == Decimal(20)
