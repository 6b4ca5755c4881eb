"""Figures that empyrical defines in the same way are equal to ours; docs/statistics.md lists the differences."""

import json
import math
import subprocess
from collections.abc import Iterator, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.analytics.domain.days import compute_days
from services.analytics.domain.facts import TradeFact
from services.analytics.domain.growth import growth_of
from services.analytics.domain.summary import Summary, summarise
from services.analytics.statistics import trailing_risk
from tests.unit.analytics.facts import at, session, trade

UTC_ZONE = ZoneInfo("UTC")
PER_YEAR = 365
SESSION = session("100000", "2026-01-01 00:00")
# One trade a day of at most 3 % of the capital, or none.
daily_pnls = st.lists(st.none() | st.integers(-3_000, 3_000), min_size=12, max_size=80).filter(
    lambda pnls: pnls[0] is not None and pnls[-1] is not None and any(pnls)
)


ROOT = Path(__file__).parents[3]
PEERS = ROOT / ".venv-peers-of-tests"


class Empyrical:
    """empyrical in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout

    def __call__(self, function: str, returns: Sequence[float], **options: int) -> float:
        self._requests.write(json.dumps([function, list(returns), options]) + "\n")
        self._requests.flush()
        return float(json.loads(self._answers.readline()))


@pytest.fixture(scope="module")
def empyrical() -> Iterator[Empyrical]:
    if not (PEERS / ".installed").exists():
        pytest.fail("empyrical is missing: `make .venv-peers-of-tests/.installed` installs it")
    command = [PEERS / "bin/python", ROOT / "tests/peers/empyrical_peer.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        peer = Empyrical(process)
        peer("max_drawdown", [0.0])  # once its imports are done, an answer takes less than a millisecond
        yield peer


def history(pnls: list[int | None]) -> list[TradeFact]:
    start = at("2026-01-01 12:00")
    return [
        trade(start + timedelta(days=number), Decimal(pnl)) for number, pnl in enumerate(pnls) if pnl is not None
    ]


def returns_of(pnls: list[int | None]) -> list[float]:
    """Daily returns on the balance at the start of the day, calculated independently of our code."""
    balance = 100_000
    returns: list[float] = []
    for pnl in pnls:
        returns.append((pnl or 0) / balance)
        balance += pnl or 0
    return returns


def summary_of(pnls: list[int | None]) -> Summary:
    return summarise(history(pnls), [SESSION], Decimal(0), UTC_ZONE)


def same(ours: Decimal | None, theirs: float, tolerance: float = 2e-6) -> bool:
    """Equal to 6 decimal places, ours being rounded to them."""
    if ours is None or not math.isfinite(theirs):
        return ours is None and not math.isfinite(theirs)
    return float(ours) == pytest.approx(theirs, rel=tolerance, abs=tolerance)


@settings(max_examples=40)
@given(daily_pnls)
def test_sharpe_sortino_and_volatility_are_empyricals_at_365_days(
    empyrical: Empyrical, pnls: list[int | None]
) -> None:
    ratios, returns = summary_of(pnls).ratios, returns_of(pnls)
    assert same(ratios.sharpe, empyrical("sharpe_ratio", returns, annualization=PER_YEAR))
    assert same(ratios.volatility, empyrical("annual_volatility", returns, annualization=PER_YEAR))
    if min(returns) < 0:
        assert same(ratios.sortino, empyrical("sortino_ratio", returns, annualization=PER_YEAR))
    else:
        assert ratios.sortino is None  # empyrical: infinite


@settings(max_examples=40)
@given(daily_pnls)
def test_with_a_trade_a_day_and_no_flows_drawdown_and_calmar_are_empyricals(
    empyrical: Empyrical, pnls: list[int | None]
) -> None:
    summary, returns = summary_of(pnls), returns_of(pnls)
    assert summary.max_drawdown_pct is not None
    assert float(summary.max_drawdown_pct) == pytest.approx(-100 * empyrical("max_drawdown", returns), abs=1e-7)
    if summary.max_drawdown_pct > 0:
        assert same(summary.ratios.calmar, empyrical("calmar_ratio", returns, annualization=PER_YEAR), 1e-5)
    else:
        assert summary.ratios.calmar is None


@settings(max_examples=40)
@given(daily_pnls)
def test_the_return_of_a_period_without_flows_is_empyricals(empyrical: Empyrical, pnls: list[int | None]) -> None:
    summary, returns = summary_of(pnls), returns_of(pnls)
    assert summary.return_pct is not None
    assert float(summary.return_pct) == pytest.approx(100 * empyrical("cum_returns_final", returns), abs=1e-7)
    days = compute_days(history(pnls), [SESSION], UTC_ZONE)
    growth = growth_of((day.capital_at_work, day.daily_pnl) for day in days)
    assert growth is not None
    assert float(growth - 1) == pytest.approx(empyrical("cum_returns_final", returns), abs=1e-12)


@settings(max_examples=40)
@given(daily_pnls)
def test_the_statistics_of_a_day_cover_thirty_days(empyrical: Empyrical, pnls: list[int | None]) -> None:
    last = compute_days(history(pnls), [SESSION], UTC_ZONE)[-1]
    returns = returns_of(pnls)[-30:]
    assert same(last.volatility, empyrical("annual_volatility", returns, annualization=PER_YEAR))
    assert same(last.sharpe_ratio, empyrical("sharpe_ratio", returns, annualization=PER_YEAR))


def test_below_ten_days_we_have_no_statistics_and_empyrical_has_some(empyrical: Empyrical) -> None:
    returns = [0.01, -0.01] * 4
    assert trailing_risk(returns) == (None, None)
    assert empyrical("annual_volatility", returns) > 0


def test_equal_returns_have_no_sharpe_where_empyrical_divides_by_noise_or_zero(empyrical: Empyrical) -> None:
    assert summary_of([0] * 12).ratios.sharpe is None
    assert not math.isfinite(empyrical("sharpe_ratio", [0.0] * 12))


def test_we_count_a_drawdown_within_a_day_and_empyrical_does_not(empyrical: Empyrical) -> None:
    """A loss of a tenth that is recovered on the same day does not appear in any daily return."""
    trades = [trade("2026-01-01 10:00", "-10000"), trade("2026-01-01 11:00", "10000")]
    summary = summarise(trades, [SESSION], Decimal(0), UTC_ZONE)
    assert summary.max_drawdown_pct == 10
    assert empyrical("max_drawdown", [0.0]) == 0
    assert summary.drawdowns.deepest is not None
    assert summary.drawdowns.deepest.days == 0
