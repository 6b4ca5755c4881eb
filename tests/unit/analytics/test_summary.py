"""Summaries of trades: sums are exact, statistics equal those of a backtest report."""

from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from services.analytics.domain.facts import TradeFact
from services.analytics.domain.local_days import Cutoff, LocalPeriod
from services.analytics.domain.quotients import ratio
from services.analytics.domain.summary import add_up, group_by, summarise
from services.analytics.routes.views import SumsView, sums_fields
from services.analytics.statistics import risk_ratios
from tests.unit.analytics.facts import at, session, trade

UTC_ZONE = ZoneInfo("UTC")
pnls = st.decimals(min_value=-(10**12), max_value=10**12, places=8, allow_nan=False)


def test_the_sums_of_a_few_trades() -> None:
    sums = add_up([trade("2026-01-01 00:00", pnl, "0.5") for pnl in ("10.1", "-4", "0", "2")])
    assert (sums.trades, sums.winning_trades, sums.losing_trades) == (4, 2, 1)
    assert (sums.pnl, sums.fees, sums.gains, sums.losses) == tuple(map(Decimal, ("8.1", "2.0", "12.1", "4")))
    assert (sums.best_trade, sums.worst_trade) == (Decimal("10.1"), Decimal("-4"))
    assert (sums.win_rate_pct, sums.profit_factor, sums.expectancy) == tuple(map(Decimal, ("50", "3.025", "2.025")))


def test_without_trades_sums_are_zero_and_ratios_undefined() -> None:
    summary = summarise([], [session("100", "2026-01-01 00:00")], Decimal(0), UTC_ZONE)
    assert summary.sums.pnl == 0
    assert summary.starting_balance == summary.ending_balance == 100
    assert (summary.sums.win_rate_pct, summary.sums.profit_factor, summary.sums.expectancy) == (None, None, None)
    assert (summary.ratios.sharpe, summary.ratios.sortino, summary.ratios.calmar) == (None, None, None)


@given(st.lists(pnls, max_size=60))
def test_sums_are_exact(values: list[Decimal]) -> None:
    sums = add_up([trade("2026-01-01 00:00", value) for value in values])
    assert Fraction(sums.pnl) == sum(map(Fraction, values))
    assert sums.gains - sums.losses == sums.pnl


def test_a_very_large_ratio_can_be_shown() -> None:
    """A fourfold gain in ten days is 10^22 in a year: a statistic is a plain number, without the limits of an
    amount."""
    trades = [trade("2026-01-01 10:00", "30000"), trade("2026-01-10 11:00", "-1")]
    summary = summarise(trades, [session("10000", "2026-01-01 00:00")], Decimal(0), UTC_ZONE)
    assert summary.ratios.calmar is not None
    assert summary.ratios.calmar > 10**20
    assert SumsView.model_validate(sums_fields(summary.sums)).pnl == 29999


def test_ratios_count_every_calendar_day() -> None:
    start = at("2026-01-01 10:00")
    trades = [trade(start + timedelta(days=number), pnl) for number, pnl in ((0, "100"), (9, "-50"))]
    summary = summarise(trades, [session("10000", "2026-01-01 00:00")], Decimal(0), UTC_ZONE)
    returns = [0.01, *[0.0] * 8, float(Fraction(-50, 10100))]
    assert summary.max_drawdown_pct == Decimal("0.49504950")
    assert summary.ratios == risk_ratios(returns, Fraction(1005, 1000), 10, Fraction(50, 10100))
    assert None not in vars(summary.ratios).values()


def test_nine_days_have_no_ratios() -> None:
    start = at("2026-01-01 10:00")
    trades = [trade(start + timedelta(days=number), pnl) for number, pnl in ((0, "100"), (8, "-50"))]
    summary = summarise(trades, [session("10000", "2026-01-01 00:00")], Decimal(0), UTC_ZONE)
    assert set(vars(summary.ratios).values()) == {None}
    assert summary.max_drawdown_pct == Decimal("0.49504950")


def test_a_period_begins_with_the_earlier_profit() -> None:
    begun = LocalPeriod(Cutoff(at("2026-01-05 00:00")))
    summary = summarise(
        [trade("2026-01-05 10:00", "-110")], [session("1000", "2026-01-01 00:00")], Decimal(100), UTC_ZONE, begun
    )
    assert summary.starting_balance == 1100
    assert summary.ending_balance == 990
    assert summary.max_drawdown_pct == 10


def test_a_ratio_has_six_places_and_is_none_without_a_denominator() -> None:
    assert ratio(Decimal(2), Decimal(3)) == Decimal("0.666667")
    assert ratio(Decimal(1), Decimal(0)) is None


def test_groups_contain_every_trade() -> None:
    trades = [trade("2026-01-01 00:00", "1", symbol=symbol) for symbol in ("B", "A", "B")]
    groups = group_by(trades, lambda each: each.symbol)
    assert {symbol: len(group) for symbol, group in groups.items()} == {"A": 1, "B": 2}
    assert isinstance(trades[0], TradeFact)
