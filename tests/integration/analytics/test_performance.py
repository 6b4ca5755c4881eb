"""Trades published over Kafka, and the performance their owner is shown."""

from decimal import Decimal
from typing import Any
from uuid import UUID

from shared.chassis.events.producer import Outgoing
from shared.contracts.types import new_id
from shared.testing.api_client import Answer
from tests.integration.accounts import eventually
from tests.integration.analytics.conftest import Platform, session_started, trade_closed
from tests.integration.analytics.test_facts import some_trades

SUMMARY = "/v1/performance/summary"


async def until_counted(platform: Platform, token: str, trades: int) -> Answer:
    return await eventually(
        lambda: platform.get(SUMMARY, token), lambda answer: answer.body["total_trades"] == trades
    )


async def test_a_change_of_time_zone_recomputes_the_users_days(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.publish(*some_trades(1, 5))
    assert (await until_counted(platform, ann, 5)).body["timezone"] == "UTC"
    assert (await platform.auth.call("PATCH", "/v1/me", {"timezone": "Europe/Rome"}, ann)).status == 200
    await eventually(lambda: platform.get(SUMMARY, ann), lambda answer: answer.body["timezone"] == "Europe/Rome")


async def test_repeated_and_unordered_trades_are_summed_to_the_last_digit(platform: Platform) -> None:
    ann = await platform.register("ann@example.org", "Europe/Rome")
    await platform.get(SUMMARY, ann)
    trades = some_trades(1, 120)
    await platform.publish(*trades[60:], *trades[:60])
    await platform.publish(*trades[:30], session_started(1, "2026-01-01 00:00"))
    summary = (await until_counted(platform, ann, 120)).body
    assert Decimal(str(summary["pnl"])) == sum(trade.pnl for trade in trades)
    assert Decimal(str(summary["fee"])) == sum(trade.fee for trade in trades)
    assert summary["timezone"] == "Europe/Rome"
    days = await platform.every("/v1/performance/daily", ann)
    assert sum(Decimal(str(day["pnl"])) for day in days) == sum(trade.pnl for trade in trades)
    assert [day["date"] for day in days] == sorted({str(day["date"]) for day in days}, reverse=True)
    equity = await platform.every("/v1/performance/equity", ann)
    assert len(equity) == 120
    assert Decimal(str(equity[0]["total_pnl"])) == sum(trade.pnl for trade in trades)
    capital = await eventually(lambda: platform.get(SUMMARY, ann), lambda a: a.body["starting_balance"] == "10000")
    last = (await platform.every("/v1/performance/equity", ann))[0]
    assert last["equity"] == capital.body["ending_balance"]


async def test_a_period_consists_of_local_days_or_times(platform: Platform) -> None:
    ann = await platform.register("ann@example.org", "Europe/Rome")
    await platform.publish(
        trade_closed(1, "2026-01-01 22:59", "1"),
        trade_closed(1, "2026-01-01 23:00", "10"),
        trade_closed(1, "2026-01-02 23:00", "100"),
    )
    await until_counted(platform, ann, 3)

    async def pnl(period: str) -> object:
        return (await platform.get(f"{SUMMARY}?{period}", ann)).body["pnl"]

    assert await pnl("from=2026-01-02&to=2026-01-02") == "10"
    assert await pnl("from=2026-01-01T22:59:00Z&to=2026-01-01T23:00:00Z") == "1"
    assert await pnl("from=2026-01-01T22:59:00Z&to=2026-01-01T23:00:00.001Z") == "11"
    assert await pnl("to=2026-01-01") == "1"
    assert await pnl("mode=LIVE") == "0"
    days = await platform.every("/v1/performance/daily?from=2026-01-01T23:00:00Z&to=2026-01-02", ann)
    assert [day["date"] for day in days] == ["2026-01-02"]
    curve = await platform.every("/v1/performance/equity?from=2026-01-02", ann)
    assert [point["total_pnl"] for point in curve] == ["111", "11"]


async def test_the_summary_groups_by_symbol_and_by_strategy(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    other: dict[str, Any] = {"symbol": "ETHUSDT", "strategy_id": UUID(int=8), "strategy_name": "fade"}
    await platform.publish(
        session_started(1, "2026-01-01 00:00", "1000"),
        trade_closed(1, "2026-01-01 10:00", "100"),
        trade_closed(1, "2026-01-01 11:00", "-50", **other),
        trade_closed(1, "2026-01-02 11:00", "25.5", **other),
    )
    await eventually(lambda: platform.get(SUMMARY, ann), lambda answer: answer.body["starting_balance"] == "1000")
    summary = (await until_counted(platform, ann, 3)).body
    assert (summary["gains"], summary["losses"], summary["pnl"]) == ("125.5", "50", "75.5")
    assert (summary["best_trade"], summary["worst_trade"], summary["ending_balance"]) == ("100", "-50", "1075.5")
    assert (summary["win_rate_percentage"], summary["profit_factor"], summary["expectancy"]) == (
        66.666667,
        2.51,
        25.166667,
    )
    assert summary["max_drawdown_percentage"] == 4.54545455
    by_symbol, by_strategy = summary["by_symbol"], summary["by_strategy"]
    assert [(each["symbol"], each["total_trades"], each["pnl"]) for each in by_symbol] == [
        ("BTCUSDT", 1, "100"),
        ("ETHUSDT", 2, "-24.5"),
    ]
    assert {(each["strategy_name"], each["pnl"]) for each in by_strategy} == {("cross", "100"), ("fade", "-24.5")}


async def test_two_tenants_see_only_their_own_trades(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    ben = await platform.register("ben@example.org")
    await platform.publish(trade_closed(1, "2026-01-01 10:00", "1"), trade_closed(2, "2026-01-01 10:00", "-3"))
    assert (await until_counted(platform, ann, 1)).body["pnl"] == "1"
    assert (await until_counted(platform, ben, 1)).body["pnl"] == "-3"
    for path in ("daily", "equity"):
        (one,) = await platform.every(f"/v1/performance/{path}", ben)
        assert one["pnl"] == "-3"


async def test_a_trade_forged_for_another_tenant_has_no_effect(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    await platform.get(SUMMARY, ann)
    forged = trade_closed(1, "2026-01-01 10:00", "1")
    headers = {"ce_id": str(new_id()), "ce_time": "2026-01-31T09:30:00Z", "ce_dataschema": "x:1"}
    await platform.running.producer.send([Outgoing(forged.topic, "2", headers, forged.model_dump_json().encode())])

    async def parked() -> int:
        async with platform.database.queue() as connection:
            count: int = await connection.fetchval("SELECT count(*) FROM parked")
        return count

    await eventually(parked, lambda count: count == 1)
    assert (await platform.get(SUMMARY, ann)).body["total_trades"] == 0


NONSENSE = (
    *("mode=BOTH", "from=yesterday", "from=2026-02-30", "from=1000-01-01", "to=2026-01-01T00:00:00"),
    *("from=9999-12-31T23:59:59-12:00", "to=2026-01-01T25:00:00Z", "extra=1"),
)


async def test_an_invalid_query_is_refused(platform: Platform) -> None:
    ann = await platform.register("ann@example.org")
    paths = [f"{path}?{query}" for path in ("summary", "daily", "equity") for query in NONSENSE]
    forged = [f"{path}?cursor={text}" for path in ("daily", "equity") for text in ("x", "WyJ4Il0", "WzFd", "W10")]
    for path in paths + forged:
        answer = await platform.analytics.call("GET", f"/v1/performance/{path}", token=ann)
        assert (answer.status, answer.body["type"]) == (422, "/problems/invalid-input"), path


async def test_nothing_is_shown_without_a_token(platform: Platform) -> None:
    for path in ("/v1/performance/summary", "/v1/watchlist", "/v1/market-analysis"):
        assert (await platform.analytics.call("GET", path)).status == 401
