"""The risk limits of an account: at which figure each is reached, and in which order they are checked."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trading.risk import RiskFacts, RiskSettings, find_breach, find_loss_breach

AMOUNTS = st.decimals(0, 10**6, places=2)


@pytest.mark.parametrize(("lost", "limit"), [("99.99", None), ("100", "max_daily_loss"), ("250", "max_daily_loss")])
def test_a_daily_loss_is_reached_at_its_limit(lost: str, limit: str | None) -> None:
    breach = find_loss_breach(RiskSettings(max_daily_loss=Decimal(100)), RiskFacts(daily_pnl=-Decimal(lost)))
    assert (breach.limit if breach else None) == limit


@pytest.mark.parametrize(("equity", "breached"), [("901", False), ("900", True), ("1100", False)])
def test_a_drawdown_is_measured_from_the_highest_equity(equity: str, breached: bool) -> None:
    facts = RiskFacts(equity=Decimal(equity), highest_equity=Decimal(1000))
    assert (find_loss_breach(RiskSettings(drawdown_pause_percentage=Decimal(10)), facts) is not None) == breached


def test_a_wallet_that_was_not_read_is_no_drawdown() -> None:
    assert find_loss_breach(RiskSettings(drawdown_pause_percentage=Decimal(1)), RiskFacts()) is None


@pytest.mark.parametrize(
    ("settings", "facts", "limit"),
    [
        (RiskSettings(max_open_notional=Decimal(1000)), RiskFacts(open_notional=Decimal(900)), None),
        (
            RiskSettings(max_open_notional=Decimal(1000)),
            RiskFacts(open_notional=Decimal("900.01")),
            "max_open_notional",
        ),
        (RiskSettings(max_positions=2), RiskFacts(positions=1), None),
        (RiskSettings(max_positions=2), RiskFacts(positions=2), "max_positions"),
        (RiskSettings(max_orders_per_minute=5), RiskFacts(orders=4), None),
        (RiskSettings(max_orders_per_minute=5), RiskFacts(orders=5), "max_orders_per_minute"),
        (RiskSettings(), RiskFacts(Decimal(-(10**9)), Decimal(10**9), 99, 99), None),
    ],
)
def test_an_entry_may_reach_a_limit_and_not_exceed_it(
    settings: RiskSettings, facts: RiskFacts, limit: str | None
) -> None:
    breach = find_breach(settings, facts, Decimal(100))
    assert (breach.limit if breach else None) == limit


@given(st.lists(AMOUNTS, max_size=20), AMOUNTS.filter(bool))
def test_entries_admitted_one_after_the_other_never_exceed_the_notional(
    entries: list[Decimal], limit: Decimal
) -> None:
    settings, facts = RiskSettings(max_open_notional=limit), RiskFacts()
    for notional in entries:
        if find_breach(settings, facts, notional) is None:
            facts = facts.with_entry(notional)
    assert facts.open_notional <= limit


def test_a_breach_names_the_limit_and_the_figure() -> None:
    breach = find_breach(RiskSettings(max_positions=2), RiskFacts(positions=2), Decimal(1))
    assert breach is not None
    assert (breach.limit, breach.allowed, breach.value) == ("max_positions", Decimal(2), Decimal(3))
