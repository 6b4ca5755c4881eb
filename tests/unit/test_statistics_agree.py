"""The metrics of a backtest and the summary of analytics are the same figures for the same returns."""

from datetime import timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.summary import Summary, summarise
from shared.contracts.types import from_ms
from shared.strategy.backtest.metrics import Metrics, measure
from shared.strategy.bars import DAY_MS, Bar
from shared.strategy.execution.outcome import Trade
from shared.strategy.series import Series
from tests.unit.analytics.facts import START_MS, session, trade

BALANCE = Decimal(10_000)
ONE = Decimal(1)


def backtested(pnls: list[Decimal | None]) -> Metrics:
    """Return the metrics of a backtest with one trade a day; None is a day without a trade."""
    times = [START_MS + day * DAY_MS for day in range(len(pnls))]
    series = Series([Bar._make([time, *[Decimal(100)] * 4, ONE]) for time in times])
    trades = [
        Trade("LONG", time, time, ONE, ONE, ONE, pnl, Decimal(0), pnl, ONE, "signal", "", 1)
        for time, pnl in zip(times, pnls, strict=True)
        if pnl is not None
    ]
    return measure(series, trades, BALANCE, 0, given_start=False)


def summarised(pnls: list[Decimal | None]) -> Summary:
    """Return the summary of analytics for the same trades."""
    start = from_ms(START_MS)
    facts = [trade(start + timedelta(days=day), pnl) for day, pnl in enumerate(pnls) if pnl is not None]
    return summarise(facts, [session(str(BALANCE), "2026-01-01")], Decimal(0), ZoneInfo("UTC"))


def assert_same(pnls: list[Decimal | None]) -> None:
    """Compare the ratios of returns to the digit. The others are exact quotients, which analytics rounds once and a
    backtest twice."""
    metrics, summary = backtested(pnls), summarised(pnls)
    sums, ratios = summary.sums, summary.ratios
    assert (metrics.sharpe, metrics.sortino) == (_float(ratios.sharpe), _float(ratios.sortino))
    for ours, theirs in (
        (metrics.calmar, ratios.calmar),
        (metrics.max_drawdown_pct, summary.max_drawdown_pct),
        (metrics.total_return_pct, summary.return_pct),
        (metrics.win_rate_pct, sums.win_rate_pct),
        (metrics.profit_factor, sums.profit_factor),
        (metrics.expectancy, sums.expectancy),
        (metrics.fees, sums.fees),
    ):
        assert (ours is None) == (theirs is None)
        if theirs is not None:
            assert ours == pytest.approx(float(theirs), rel=1e-12, abs=1.01e-6)


def _float(value: Decimal | None) -> float | None:
    return None if value is None else float(value)


amounts = st.decimals(-150, 150, places=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | amounts, min_size=0, max_size=38), amounts, amounts)
def test_a_backtest_and_analytics_have_the_same_figures(
    between: list[Decimal | None], first: Decimal, last: Decimal
) -> None:
    assert_same([first, *between, last])


@pytest.mark.parametrize("days", [9, 10, 30])
@pytest.mark.parametrize("rate", ["0", "0.001", "-0.001", "0.1"])
def test_returns_without_deviation_are_undefined_in_both(rate: str, days: int) -> None:
    pnls: list[Decimal | None] = []
    equity = BALANCE
    for _ in range(days):
        pnl = (equity * Decimal(rate)).quantize(Decimal("0.00000001"))
        pnls.append(pnl)
        equity += pnl
    assert_same(pnls)
    assert (backtested(pnls).sharpe, summarised(pnls).ratios.sharpe) == (None, None)
