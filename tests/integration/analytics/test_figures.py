"""Figures by symbol, strategy and calendar day, and the equity curve with capital flows, over HTTP."""

from typing import Any
from uuid import UUID

import pytest

from shared.chassis.http.paging import encode_cursor, encode_sorted
from shared.contracts.types import EPOCH, new_id
from tests.integration.analytics.conftest import (
    Platform,
    session_started,
    session_stopped,
    trade_closed,
    user_registered,
)
from tests.integration.analytics.test_exports import fetch
from tests.integration.analytics.test_facts import some_trades

PERFORMANCE = "/v1/performance"


@pytest.fixture
async def ann(platform: Platform) -> str:
    token = await platform.register("ann@example.org", "Europe/Rome")
    await platform.get(f"{PERFORMANCE}/summary", token)
    await platform.consume(user_registered(1, "Europe/Rome"))
    return token


def of(symbol: str, strategy: int, name: str) -> dict[str, Any]:
    return {"symbol": symbol, "strategy_id": UUID(int=strategy), "strategy_name": name}


async def consume_samples(platform: Platform) -> None:
    await platform.consume(
        trade_closed(1, "2026-01-01 10:00", "10", **of("BTCUSDT", 7, "old name")),
        trade_closed(1, "2026-01-02 10:00", "-4", **of("BTCUSDT", 7, "cross")),
        trade_closed(1, "2026-01-03 10:00", "1", **of("ETHUSDT", 8, "fade")),
        trade_closed(1, "2026-01-04 10:00", "0", **of("SOLUSDT", 8, "fade")),
        trade_closed(1, "2026-01-05 10:00", "99", paper=False, **of("XRPUSDT", 9, "live")),
    )


async def test_the_sums_of_each_symbol_and_of_each_strategy(platform: Platform, ann: str) -> None:
    await consume_samples(platform)
    btc, eth, sol = await platform.every(f"{PERFORMANCE}/by-symbol", ann)
    assert [each["symbol"] for each in (btc, eth, sol)] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    shown = ("total_trades", "winning_trades", "losing_trades", "pnl", "fee", "gains", "losses", "profit_factor")
    assert [btc[name] for name in shown] == [2, 1, 1, "6", "0.2", "10", "4", 2.5]
    assert [btc[name] for name in ("win_rate_percentage", "expectancy", "average_win", "average_loss")] == [
        50,
        3,
        10,
        4,
    ]
    assert (eth["profit_factor"], sol["win_rate_percentage"]) == (None, 0)
    cross, fade = await platform.every(f"{PERFORMANCE}/by-strategy", ann)
    assert (cross["strategy_name"], cross["pnl"], fade["strategy_name"], fade["pnl"]) == ("cross", "6", "fade", "1")
    (live,) = await platform.every(f"{PERFORMANCE}/by-symbol?mode=LIVE", ann)
    assert live["symbol"] == "XRPUSDT"
    (only,) = await platform.every(f"{PERFORMANCE}/by-strategy?from=2026-01-03&to=2026-01-03", ann)
    assert (only["strategy_name"], only["total_trades"]) == ("fade", 1)


@pytest.mark.parametrize(
    ("sort", "symbols"),
    [
        ("symbol", ["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
        ("-symbol", ["SOLUSDT", "ETHUSDT", "BTCUSDT"]),
        ("pnl", ["SOLUSDT", "ETHUSDT", "BTCUSDT"]),
        ("-pnl", ["BTCUSDT", "ETHUSDT", "SOLUSDT"]),
        ("-total_trades", ["BTCUSDT", "SOLUSDT", "ETHUSDT"]),
    ],
)
async def test_groups_are_paged_in_every_order(platform: Platform, ann: str, sort: str, symbols: list[str]) -> None:
    await consume_samples(platform)
    found, cursor = [], ""
    for _ in symbols:
        page = await platform.get(f"{PERFORMANCE}/by-symbol?sort={sort}&limit=1{cursor}", ann)
        found += [each["symbol"] for each in page.body["items"]]
        cursor = f"&cursor={page.body['next_cursor']}"
    assert (found, cursor) == (symbols, "&cursor=None")


async def test_a_year_shows_every_day_in_the_users_zone(platform: Platform, ann: str) -> None:
    await platform.consume(session_started(1, "2025-12-31 10:00", "1000"))
    await platform.consume(trade_closed(1, "2025-12-31 23:30", "100"), trade_closed(1, "2026-02-28 10:00", "-11"))
    year = (await platform.get(f"{PERFORMANCE}/calendar?year=2026", ann)).body
    months: Any = year["months"]
    assert (year["timezone"], sum(len(month["days"]) for month in months)) == ("Europe/Rome", 365)
    assert [months[0][name] for name in ("pnl", "return_percentage", "days_traded", "winning_days")] == [
        "100",
        10,
        1,
        1,
    ]
    first, second = months[0]["days"][:2]
    assert (first["status"], first["pnl"]) == ("TRADED", "100")
    assert (second["status"], second["pnl"]) == ("QUIET", None)
    assert (months[1]["days"][27]["pnl_percentage"], months[1]["losing_days"]) == (-1, 1)
    part: Any = (await platform.get(f"{PERFORMANCE}/calendar?year=2026&from=2026-02-27&to=2026-03-01", ann)).body
    assert [(month["month"], len(month["days"])) for month in part["months"]] == [(2, 2), (3, 1)]
    assert (await platform.get(f"{PERFORMANCE}/calendar?year=2099&to=2026-01-01", ann)).body["months"] == []
    future: Any = (await platform.get(f"{PERFORMANCE}/calendar?year=2100", ann)).body
    assert {day["status"] for month in future["months"] for day in month["days"]} == {"COMING"}
    for wrong in ("year=1969", "year=2200", "year=now", "year=", "mode=BOTH"):
        assert (await platform.analytics.call("GET", f"{PERFORMANCE}/calendar?{wrong}", token=ann)).status == 422


async def test_capital_flows_are_listed_between_the_trades(platform: Platform, ann: str) -> None:
    one, two = new_id(), new_id()
    await platform.consume(
        session_started(1, "2026-01-01 09:00", "1000", one), session_started(1, "2026-01-03 09:00", "50", two)
    )
    await platform.consume(trade_closed(1, "2026-01-01 10:00", "100", session_id=one))
    await platform.consume(session_stopped(1, "2026-01-02 10:00", "1100", one))
    await platform.consume(trade_closed(1, "2026-01-03 10:00", "-5", session_id=two))
    shown = ("kind", "pnl", "capital_added", "capital_taken", "total_pnl", "equity", "in_sessions")
    curve = [
        tuple(point[name] for name in shown)
        for point in await platform.every(f"{PERFORMANCE}/equity?flows=true&sort=equity_time", ann)
    ]
    assert curve == [
        ("CAPITAL_ADDED", "0", "1000", "0", "0", "1000", "1000"),
        ("TRADE", "100", "0", "0", "100", "1100", "1100"),
        ("CAPITAL_TAKEN", "0", "0", "1100", "100", "1100", "0"),
        ("CAPITAL_ADDED", "0", "50", "0", "100", "1150", "50"),
        ("TRADE", "-5", "0", "0", "95", "1145", "45"),
    ]
    trades = [tuple(point[name] for name in shown) for point in await platform.every(f"{PERFORMANCE}/equity", ann)]
    assert trades == [point for point in curve if point[0] == "TRADE"][::-1]
    later = await platform.every(f"{PERFORMANCE}/equity?flows=true&from=2026-01-03&to=2026-01-03T10:00:00Z", ann)
    assert [(point["kind"], point["equity"]) for point in later] == [("CAPITAL_ADDED", "1150")]


async def test_the_curve_is_the_same_in_pages_of_any_size(platform: Platform, ann: str) -> None:
    sessions = [session_started(1, f"2026-01-{day:02} 00:00", str(day)) for day in range(1, 20)]
    await platform.consume(*sessions)
    await platform.consume(*some_trades(1, 60))
    whole = (await platform.get(f"{PERFORMANCE}/equity?flows=true&limit=200", ann)).body["items"]
    assert len(whole) == 79
    assert await platform.every(f"{PERFORMANCE}/equity?flows=true", ann) == whole
    assert await platform.every(f"{PERFORMANCE}/equity?flows=true&sort=equity_time", ann) == whole[::-1]
    trades = [point for point in whole if point["kind"] == "TRADE"]
    assert await platform.every(f"{PERFORMANCE}/equity", ann) == trades
    assert await platform.every(f"{PERFORMANCE}/equity?sort=equity_time", ann) == trades[::-1]


async def test_the_summary_shows_drawdowns_and_streaks(platform: Platform, ann: str) -> None:
    await platform.consume(session_started(1, "2026-01-01 00:00", "1000"))
    pnls = ("100", "-110", "55", "55", "20", "-112")
    await platform.consume(*(trade_closed(1, f"2026-01-0{day} 10:00", pnl) for day, pnl in enumerate(pnls, 1)))
    summary: Any = (await platform.get(f"{PERFORMANCE}/summary", ann)).body
    assert summary["deepest_drawdown"] == {
        "percentage": 10,
        "peak_date": "2026-01-01",
        "trough_date": "2026-01-02",
        "recovery_date": "2026-01-04",
        "duration_days": 3,
    }
    assert summary["longest_drawdown"] == summary["deepest_drawdown"]
    streaks = ("longest_winning_streak", "longest_losing_streak", "current_streak")
    assert [summary[name] for name in streaks] == [3, 1, -1]
    assert (summary["return_percentage"], summary["average_win"], summary["average_loss"]) == (0.8, 57.5, 111)


async def test_all_endpoints_agree_on_the_date_when_the_clock_goes_back_over_midnight(platform: Platform) -> None:
    """St. John's went from 2010-11-07 00:01 back to 23:01 of the 6th, at 02:31 in UTC."""
    token = await platform.register("ben@example.org", "America/St_Johns")
    await platform.get(f"{PERFORMANCE}/summary", token)
    await platform.consume(user_registered(1, "America/St_Johns"))
    exits = ("6 02:29:59", "6 02:30", "7 02:29:59", "7 02:30:30", "7 02:31", "7 03:29:59", "7 03:30", "8 03:30")
    await platform.consume(session_started(1, "2010-11-01 00:00", "1000"))
    await platform.consume(*(trade_closed(1, f"2010-11-0{exit}", str(2**n)) for n, exit in enumerate(exits)))
    expected = {5: [1], 6: [2, 4, 16, 32], 7: [8, 64], 8: [128]}
    calendar: Any = (await platform.get(f"{PERFORMANCE}/calendar?year=2010", token)).body["months"]
    for day, pnls in expected.items():
        period = f"from=2010-11-0{day}&to=2010-11-0{day}"
        (row,) = await platform.every(f"{PERFORMANCE}/daily?{period}", token)
        summary = (await platform.get(f"{PERFORMANCE}/summary?{period}", token)).body
        equity = await platform.every(f"{PERFORMANCE}/equity?sort=equity_time&{period}", token)
        (by_symbol,) = await platform.every(f"{PERFORMANCE}/by-symbol?{period}", token)
        (by_strategy,) = await platform.every(f"{PERFORMANCE}/by-strategy?{period}", token)
        _, exported = await fetch(platform, token, f"what=trades&{period}")
        _, exported_days = await fetch(platform, token, f"what=days&{period}")
        assert [point["pnl"] for point in equity] == [row["pnl"] for row in exported] == list(map(str, pnls))
        by_day = [each["pnl"] for each in (row, exported_days[0], calendar[10]["days"][day - 1])]
        assert {*by_day, *(each["pnl"] for each in (summary, by_symbol, by_strategy))} == {str(sum(pnls))}
        shown = ("starting_balance", "ending_balance")
        assert [row[name] for name in shown] == [summary[name] for name in shown]
        assert row["pnl_percentage"] == summary["return_percentage"]
    both = await platform.every(f"{PERFORMANCE}/equity?from=2010-11-06&to=2010-11-06&flows=true", token)
    assert [point["total_pnl"] for point in both] == ["63", "31", "7", "3"]


FORGED = (
    f"by-symbol?cursor={encode_cursor('pnl', '1', 'x')}",
    f"by-symbol?sort=pnl&cursor={encode_cursor('pnl', 'NaN', 'x')}",
    f"by-strategy?sort=total_trades&cursor={encode_cursor('total_trades', 'x', 'x')}",
    f"equity?cursor={encode_sorted('-equity_time', EPOCH, 7, UUID(int=1))}",
    f"equity?cursor={encode_sorted('-equity_time', EPOCH, 1, 'x')}",
    "equity?flows=perhaps",
    "equity?flows=1",
    "by-symbol?sort=fees",
)


@pytest.mark.parametrize("path", FORGED)
async def test_a_forged_cursor_or_parameter_is_refused(platform: Platform, ann: str, path: str) -> None:
    answer = await platform.analytics.call("GET", f"{PERFORMANCE}/{path}", token=ann)
    assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input")
