"""The HTML page of a result: it is complete and loads nothing from elsewhere."""

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from math import prod
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from cli.backtest import backtest
from cli.report.figures import buy_and_hold, drawdowns, months
from cli.report.page import page
from cli.report.story import Story, record_stops, story_of_backtest
from cli.report.thinning import downsample_candles, downsample_curve
from shared.strategy.backtest.run import run_backtest
from shared.strategy.bars import Bar
from tests.unit.strategy.scenes import ALWAYS, FREE, HOUR, START, at_close, bars, document, strategy

PERCENT_STOP = {"stop_loss": {"type": "percent", "value": "10"}}
TRAILING = {"trailing_stop": {"type": "percent", "value": "10"}}


def story(rows: Sequence[Bar], entry: object = ALWAYS, leave: object = None, **risk: object) -> Story:
    plan = strategy(entry, leave, risk=risk)
    return story_of_backtest("made up", plan, FREE, rows, run_backtest(plan, rows, FREE), None)


def test_a_stop_is_drawn_from_the_entry_to_the_end_of_the_position() -> None:
    rows = bars("100", "100", "100", "100 100 80 80", "80")
    plan = strategy(at_close("100"), risk=PERCENT_STOP)
    stops = record_stops(plan, FREE, rows, None)
    assert [(stop.time_ms, stop.price) for stop in stops] == [
        (START, None),
        (START + HOUR, Decimal("90.00")),
        (START + 4 * HOUR, None),
    ]


def test_a_trailing_stop_is_drawn_as_it_moves() -> None:
    rows = bars("100", "100", "120", "140", "140")
    prices = [stop.price for stop in record_stops(strategy(ALWAYS, risk=TRAILING), FREE, rows, None)]
    assert prices == [None, Decimal("90.00"), Decimal("108.00"), Decimal("126.00")]


def test_monthly_returns_multiply_to_the_whole_return() -> None:
    ups_and_downs = [str(100 + (7 * number) % 23) for number in range(24 * 70)]
    made = story(bars(*ups_and_downs), at_close("103"), at_close("110"))
    assert len(made.trades) > 50
    by_month = [value for year in months(made).values() for value in year.values()]
    assert len(by_month) == 3
    grown = prod((1 + value / 100 for value in by_month), start=Decimal(1))
    assert made.terms.initial_balance * grown == pytest.approx(made.final_equity, abs=Decimal("0.00001"))


def test_the_equity_of_the_page_ends_at_the_final_equity() -> None:
    made = story(bars("100", "101", "103", "102", "99"), at_close("101"), at_close("102"))
    assert made.equity[-1][1] == made.final_equity
    assert min(fall for _, fall in drawdowns(made.equity)) == pytest.approx(
        -(made.metrics.max_drawdown_pct or 0), abs=1e-6
    )


def test_buy_and_hold_ends_at_the_value_of_the_metric() -> None:
    made = story(bars("100", "50", "60", "75"))
    last = buy_and_hold(made)[-1][1]
    assert (last / FREE.initial_balance - 1) * 100 == pytest.approx(made.metrics.buy_and_hold_pct, abs=1e-6)


def test_fewer_candles_have_the_same_extremes() -> None:
    rows = bars(*(f"{n} {n + 5} {n - 5} {n + 1}" for n in range(100, 350)))
    drawn, size = downsample_candles(rows, most=100)
    assert (size, len(drawn)) == (3, 84)
    assert max(bar.high for bar in drawn) == max(bar.high for bar in rows)
    assert (drawn[0].open, drawn[-1].close) == (rows[0].open, rows[-1].close)
    assert sum(bar.volume for bar in drawn) == len(rows)


def test_a_curve_with_fewer_points_keeps_ends_and_extremes() -> None:
    curve = [(at, (at * 37) % 1009) for at in range(5_000)]
    drawn = downsample_curve(curve, most=400)
    assert len(drawn) <= 400
    assert drawn == sorted(drawn)
    assert {curve[0], curve[-1], max(curve, key=lambda p: p[1]), min(curve, key=lambda p: p[1])} <= set(drawn)


def test_the_page_is_complete_and_loads_nothing() -> None:
    made = story(bars("100", "101", "103", "102", "99"), at_close("101"), at_close("102"), **PERCENT_STOP)
    text = page(made)
    for wanted in (made.fingerprint, made.strategy.content_hash, "Funding", "buy and hold", "max drawdown", "Nov"):
        assert wanted in text
    for picture in ("market", "equity", "distribution"):
        assert f'id="{picture}"' in text
    assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=", text)
    assert "prefers-color-scheme" in text
    assert 'name="viewport"' in text


def test_the_page_says_what_drawdown_and_win_rate_leave_out() -> None:
    text = page(story(bars("100", "101")))
    assert "Equity includes closed trades only, so drawdowns within a trade are not shown." in text
    assert "A trade that breaks even counts as a trade in the win rate, but not as won." in text


def test_a_backtest_without_trades_has_a_page() -> None:
    text = page(story(bars("100", "101"), at_close("5")))
    assert "All 0 trades" in text


def test_a_name_is_escaped() -> None:
    plan = strategy(ALWAYS)
    rows = bars("100", "101")
    object.__setattr__(plan, "name", "<script>alert(1)</script>")
    text = page(story_of_backtest("a & b", plan, FREE, rows, run_backtest(plan, rows, FREE), None))
    assert "<script>alert(1)" not in text
    assert "a &amp; b" in text


def run_backtest_command(folder: Path, target: Path) -> Result:
    lines = [f"{START + n * HOUR},{100 + n},{100 + n},{100 + n},{100 + n},1" for n in range(5)]
    (folder / "c.csv").write_text("open_time_ms,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    (folder / "s.json").write_text(json.dumps(document()))
    options = ["--candles", str(folder / "c.csv"), "--strategy", str(folder / "s.json")]
    return CliRunner().invoke(backtest, [*options, "--report", str(target)])


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    assert run_backtest_command(tmp_path, tmp_path / "r.html").exit_code == 0
    assert (tmp_path / "r.html").read_text().startswith("<!doctype html>")
    assert not list(tmp_path.glob("*.partial"))


def test_an_unwritable_report_path_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    result = run_backtest_command(tmp_path, tmp_path / "no" / "r.html")
    assert result.exit_code == 2
    assert "--report" in result.output
    assert "cannot be written" in result.output
