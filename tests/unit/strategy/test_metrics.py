from dataclasses import asdict
from decimal import Decimal

import pytest

from shared.strategy.backtest.metrics import measure
from shared.strategy.series import Series
from tests.unit.strategy.scenes import ALWAYS, at_close, bars, run, strategy, terms

DAY = 24


def test_without_trades_metrics_that_divide_by_them_are_undefined() -> None:
    metrics = asdict(measure(Series(), (), Decimal(100), None, given_start=False))
    assert {name for name, value in metrics.items() if value is not None} == {
        "total_return_pct",
        "max_drawdown_pct",
        "fees",
    }


def test_metrics_of_two_trades_on_twelve_days() -> None:
    """+10 on the first day, -5 on the second, 0 on the others."""
    plan = strategy(at_close("100", "101"), at_close("110", "96"))
    prices = ["100"] * 2 + ["110"] * 22 + ["101"] * 2 + ["96"] * 22 + ["90"] * (9 * DAY + 1)
    metrics = run(plan, bars(*prices), terms(initial_balance=Decimal(1000))).metrics
    assert metrics.total_return_pct == pytest.approx(0.5)
    assert metrics.buy_and_hold_pct == pytest.approx(-10)
    assert metrics.max_drawdown_pct == pytest.approx(5 / 1010 * 100, abs=1e-6)
    assert metrics.win_rate_pct == 50
    assert metrics.profit_factor == 2
    assert metrics.expectancy == 2.5
    assert metrics.avg_bars == 2
    assert metrics.exposure_pct == pytest.approx(4 / 265 * 100, abs=1e-6)
    assert metrics.fees == 0
    returns = [0.01, -5 / 1010, *[0.0] * 10]
    mean = sum(returns) / 12
    sample = (sum((each - mean) ** 2 for each in returns) / 11) ** 0.5
    downside = ((5 / 1010) ** 2 / 12) ** 0.5
    assert metrics.sharpe == pytest.approx(mean / sample * 365**0.5, abs=1e-6)
    assert metrics.sortino == pytest.approx(mean / downside * 365**0.5, abs=1e-6)
    yearly = (1.005 ** (365 / 12) - 1) * 100
    assert metrics.calmar == pytest.approx(yearly / (5 / 1010 * 100), abs=1e-5)


def test_a_trade_that_breaks_even_counts_but_is_not_won() -> None:
    plan = strategy(at_close("100", "101"), at_close("110", "96"))
    report = run(plan, bars("100", "100", "110", "110", "101", "96", "96", "101", "101", "96", "96"))
    assert [trade.pnl for trade in report.trades] == [10, 0, -5]
    assert report.metrics.win_rate_pct == pytest.approx(100 / 3, abs=1e-6)


def test_a_fall_within_a_trade_is_no_drawdown() -> None:
    plan = strategy(at_close("100"), at_close("110"))
    assert run(plan, bars("100", "100", "50", "110", "110")).metrics.max_drawdown_pct == 0


def test_nine_days_have_no_ratios_and_ten_have() -> None:
    plan = strategy(at_close("100", "101"), at_close("110", "96"))
    prices = ["100"] * 2 + ["110"] * 22 + ["101"] * 2 + ["96"] * 22
    for days, defined in ((9, False), (10, True)):
        rows = bars(*prices, *["90"] * ((days - 2) * DAY))
        metrics = run(plan, rows, terms(initial_balance=Decimal(1000))).metrics
        assert [each is not None for each in (metrics.sharpe, metrics.sortino, metrics.calmar)] == [defined] * 3


def test_equal_daily_returns_have_no_sharpe() -> None:
    """A gain of a tenth on each of twelve days: the rounding errors of float64 do not count as deviation."""
    plan = strategy(
        at_close("100"),
        at_close("110"),
        risk={"position_size": {"type": "percent_of_equity", "value": 50}, "leverage": 2},
    )
    rows = bars(*(["100"] * 2 + ["110"] * 22) * 12)
    report = run(plan, rows, terms(initial_balance=Decimal(10_000), qty_step=Decimal("0.00000001")))
    assert report.final_equity == pytest.approx(Decimal(10_000) * Decimal("1.1") ** 12)
    assert report.metrics.total_return_pct == pytest.approx(213.842838, abs=1e-6)
    assert (report.metrics.sharpe, report.metrics.sortino, report.metrics.calmar) == (None, None, None)


def test_with_a_given_start_the_days_begin_with_the_first_decision() -> None:
    """The quiet days before the start do not count: of twelve days nine are left, too few for ratios."""
    plan = strategy(at_close("101"), at_close("110"))
    rows = bars(*["100"] * (5 * DAY), *(["101"] * 2 + ["110"] * 10 + ["105"] * 12) * 12)
    whole, late = run(plan, rows).metrics, run(plan, rows, first_bar_ms=rows[8 * DAY].open_time_ms).metrics
    assert whole.sharpe is not None
    assert late.sharpe is None
    assert late.total_return_pct == pytest.approx(9 * 9 / 1000)
    assert late.buy_and_hold_pct == pytest.approx((105 / 101 - 1) * 100, abs=1e-6)
    assert late.exposure_pct == pytest.approx(9 * 2 / (9 * DAY) * 100, abs=1e-6)


def test_the_bar_in_which_a_stop_ends_the_trade_counts_as_in_position() -> None:
    plan = strategy(ALWAYS, risk={"stop_loss": {"type": "percent", "value": 10}, "cooldown_bars": 9})
    report = run(plan, bars("100", "100", "100 100 80 85", "85"))
    assert report.trades[0].bars == 2
    assert report.metrics.exposure_pct == 50


def test_ratios_are_undefined_once_equity_is_lost() -> None:
    plan = strategy(at_close("100"), at_close("40"), risk={"leverage": 100})
    rows = bars(*["100"] * 2, *["40"] * (2 * DAY))
    metrics = run(plan, rows, terms(initial_balance=Decimal(10))).metrics
    assert metrics.total_return_pct == -600
    assert (metrics.sharpe, metrics.calmar) == (None, None)
