"""Requests for backtests: validation, limits, and results reused without a new calculation."""

import asyncio
import json
from decimal import Decimal
from pathlib import Path

from click.testing import CliRunner

from cli.backtest import backtest
from shared.contracts.types import decimal_text
from shared.testing.api_client import Answer, Json
from tests.integration.backtests.conftest import BARS, MAX_BARS, Scene, at
from tests.unit.trading.scenes import CROSS, wavy_bars


def reasons(answer: Answer) -> dict[str, str]:
    assert answer.status == 422, answer.body
    return {fault["path"]: fault["reason"] for fault in answer.body["errors"]}


def run_command(folder: Path, first: int, last: int) -> Json:
    """Return the result of `tradefleet backtest` for these bars."""
    rows = [",".join(map(str, bar)) for bar in wavy_bars(BARS)[first:last]]
    (folder / "c.csv").write_text("\n".join(["open_time_ms,open,high,low,close,volume", *rows]))
    (folder / "s.json").write_text(json.dumps(CROSS))
    options = ["--candles", str(folder / "c.csv"), "--strategy", str(folder / "s.json"), "--json"]
    result: Json = json.loads(CliRunner().invoke(backtest, options).stdout)
    return result


async def test_a_result_equals_that_of_the_command_on_the_same_candles(scene: Scene, tmp_path: Path) -> None:
    """Fingerprint, metrics, every fill and every trade, to the last digit."""
    ann = await scene.person()
    path = await ann.queue_backtest(**{"from": at(20), "to": at(280)})
    assert (await ann.get(path))["status"] == "QUEUED"
    assert await ann.list_all(path + "/fills") == []
    async with scene.worker():
        seen = await ann.until_ended(path)
    expected = run_command(tmp_path, 20, 280)
    result = seen["result"]
    assert isinstance(result, dict)
    assert seen["progress"] == {"done": 260, "total": 260, "percentage": 100}
    for name in ("fingerprint", "final_equity"):
        assert result[name] == expected[name], name
    assert (result["total_fills"], result["total_trades"]) == (expected["fills"], expected["trades"])
    assert result["metrics"] == metrics_of_api(expected["metrics"])
    fills = [each["price"] for each in await ann.list_all(path + "/fills?sort=fill_number")]
    assert fills == [each["price"] for each in expected["fill_list"]]
    trades = [
        (each["pnl"], each["fee"], each["gross_pnl"])
        for each in await ann.list_all(path + "/trades?sort=trade_number")
    ]
    assert trades == [(each["pnl"], each["fees"], each["gross"]) for each in expected["trade_list"]]
    assert len(fills) > 20


def metrics_of_api(of_command: Json) -> Json:
    """Return the command's metrics under the API's names; the fee is an amount there."""
    names = {"total_return_pct": "return_percentage", "avg_bars": "average_bars", "fees": "fee"}
    renamed = {names.get(name, name.replace("_pct", "_percentage")): value for name, value in of_command.items()}
    return {**renamed, "fee": decimal_text(Decimal(str(renamed["fee"])))}


async def test_an_identical_request_is_answered_by_the_stored_result(scene: Scene) -> None:
    ann = await scene.person()
    async with scene.worker():
        first = await ann.until_ended(await ann.queue_backtest())
    again = await ann.request_backtest(**{"from": at(-50), "to": at(BARS + 50)})  # the same bars
    assert (again.status, again.body["status"], again.body["result"]) == (202, "DONE", first["result"])
    fills = await ann.list_all(again.headers["Location"] + "/fills?sort=fill_number")
    assert [each["fill_number"] for each in fills] == [*range(1, len(fills) + 1)]
    for other in ({"fee_rate": "0.001"}, {"slippage": "0.001"}, {"initial_balance": "5000"}, {"to": at(BARS - 1)}):
        assert (await ann.request_backtest(**other)).body["status"] == "QUEUED", other


async def test_a_result_of_another_tenant_is_not_reused(scene: Scene) -> None:
    ann, bob = await scene.person(1), await scene.person(2)
    async with scene.worker():
        await ann.until_ended(await ann.queue_backtest())
    assert (await bob.request_backtest()).body["status"] == "QUEUED"


async def test_identical_requests_in_the_queue_share_a_result(scene: Scene) -> None:
    ann = await scene.person()
    paths = [await ann.queue_backtest() for _ in range(3)]
    async with scene.worker():
        seen = [await ann.until_ended(path) for path in paths]
    assert [each["status"] for each in seen] == ["DONE"] * 3
    (row,) = await scene.trading.fetch("SELECT count(*) AS n FROM backtest_results")
    assert row["n"] == 1


async def test_a_repaired_gap_makes_a_new_request(scene: Scene) -> None:
    await scene.store([*wavy_bars(10), *wavy_bars(20)[11:]], "ETHUSDT")
    ann = await scene.person()
    request = {"symbol": "ETHUSDT", "to": at(20)}
    async with scene.worker():
        before = await ann.until_ended(await ann.queue_backtest(**request))
        await scene.store(wavy_bars(20)[10:11], "ETHUSDT")
        after = await ann.until_ended(await ann.queue_backtest(**request))
    assert [each["result"]["missing_bars"] for each in (before, after)] == [1, 0]
    assert [each["progress"]["total"] for each in (before, after)] == [19, 20]


async def test_a_request_the_candles_cannot_serve_is_refused_by_field(scene: Scene) -> None:
    ann = await scene.person()
    hourly = {**CROSS["strategy_config"], "interval": "60"}  # type: ignore[dict-item]
    other = await ann.make_strategy(strategy_name="hourly", strategy_config=hourly)
    for changes, path, reason in (
        ({"from": at(5), "to": at(5)}, "$.to", "later than `from`"),
        ({"from": at(6), "to": at(5)}, "$.to", "later than `from`"),
        ({"symbol": "NOPEUSDT"}, "$.symbol", "no candles of this symbol"),
        ({"strategy_id": other}, "$.strategy_id", "its interval is 60, and candles of BTCUSDT are stored at 15"),
        ({"from": at(-9), "to": at(0)}, "$.to", "no candles are stored before 2026-01-01T00:00:00.000Z"),
        ({"from": at(BARS), "to": at(BARS + 9)}, "$.from", f"no candles are stored after {at(BARS - 1)}"),
        ({"strategy_id": "01900000-0000-7000-8000-000000000000"}, "$.strategy_id", "no such strategy"),
        ({"version": 7}, "$.version", "no such version"),
        ({"fee_rate": "1"}, "$.fee_rate", "below 1"),
        ({"fee_rate": "0.000000001"}, "$.fee_rate", "at most 8 decimals"),
        ({"slippage": "-0.1"}, "$.slippage", "at least 0"),
        ({"initial_balance": "0"}, "$.initial_balance", "above 0"),
        ({"initial_balance": "1000000000001"}, "$.initial_balance", "at most 1000000000000"),
        ({"from": "yesterday"}, "$.from", "must be a time"),
        ({"typo": 1}, "$.typo", ""),
    ):
        found = reasons(await ann.request_backtest(**changes))
        assert list(found) == [path], (changes, found)
        assert reason in found[path], (changes, found)
    assert (await ann.get("/v1/backtests"))["items"] == []


async def test_a_tick_above_a_price_of_the_candles_is_refused(scene: Scene) -> None:
    """The instrument's tick is a cent."""
    price = Decimal("0.0041")
    cheap = [bar._replace(open=price, high=price, low=price, close=price) for bar in wavy_bars(9)]
    await scene.store([*wavy_bars(20)[:5], *cheap[5:]], "ETHUSDT")
    ann = await scene.person()
    assert (await ann.request_backtest(symbol="ETHUSDT", to=at(5))).status == 202
    found = reasons(await ann.request_backtest(symbol="ETHUSDT", to=at(9)))
    assert list(found) == ["$.symbol"]
    assert "a price of 0.0041, below the tick size of 0.01" in found["$.symbol"]


async def test_stored_candles_that_are_not_bars_fail_the_backtest_with_the_reason(scene: Scene) -> None:
    bars = wavy_bars(20)
    await scene.store([*bars[:7], bars[7]._replace(volume=Decimal(-1)), *bars[8:]], "ETHUSDT")
    ann = await scene.person()
    path = await ann.queue_backtest(symbol="ETHUSDT", to=at(20))
    async with scene.worker():
        seen = await ann.until_ended(path)
    assert (seen["status"], seen["result"]) == ("FAILED", None)
    assert seen["reason"] == "a stored candle is invalid: volume -1 is negative"


async def test_more_bars_than_the_maximum_are_refused(scene: Scene) -> None:
    await scene.store(wavy_bars(MAX_BARS + 1), "ETHUSDT")
    ann = await scene.person()
    assert (await ann.request_backtest(symbol="ETHUSDT", to=at(MAX_BARS))).status == 202
    found = reasons(await ann.request_backtest(symbol="ETHUSDT", to=at(MAX_BARS + 1)))
    assert found == {"$.to": f"more than {MAX_BARS} bars lie between `from` and `to`, which is the most"}


async def test_a_plan_without_backtesting_refuses(scene: Scene) -> None:
    answer = await (await scene.person(feature=False)).request_backtest()
    assert (answer.status, answer.body["type"]) == (403, "/problems/plan-limit")
    assert (answer.body["limit_name"], answer.body["allowed"]) == ("backtesting", 0)


async def test_racing_requests_are_accepted_up_to_the_daily_limit_of_the_plan(scene: Scene) -> None:
    ann = await scene.person(max_per_day=3)
    ann.strategy_id = await ann.make_strategy()
    answers = await asyncio.gather(*(ann.request_backtest() for _ in range(12)))
    refused = [answer for answer in answers if answer.status != 202]
    assert len(refused) == 9
    for answer in refused:
        shown = {name: answer.body[name] for name in ("status", "limit_name", "allowed", "used")}
        assert shown == {"status": 403, "limit_name": "max_backtests_per_day", "allowed": 3, "used": 3}
    for path in [f"/v1/backtests/{each['backtest_id']}" for each in await ann.list_all("/v1/backtests")]:
        assert (await ann.call("DELETE", path)).status == 200
    assert (await ann.request_backtest()).status == 403, "cancelled requests count too"


async def test_refused_requests_do_not_count(scene: Scene) -> None:
    ann = await scene.person(max_per_day=1)
    assert (await ann.request_backtest(symbol="NOPEUSDT")).status == 422
    assert (await ann.request_backtest()).status == 202


async def test_limits_are_per_day(scene: Scene) -> None:
    ann = await scene.person(max_per_day=1)
    await ann.queue_backtest()
    rows = await scene.trading.fetch("UPDATE backtest_days SET day = day - 1 RETURNING used")
    assert [row["used"] for row in rows] == [1]
    assert (await ann.request_backtest()).status == 202


async def test_the_queue_of_a_tenant_is_bounded(scene: Scene) -> None:
    ann, bob = await scene.person(1), await scene.person(2)
    path = await ann.queue_backtest()
    await _fill_queue(scene, path.rpartition("/")[2], 999)
    answer = await ann.request_backtest()
    assert (answer.status, answer.body["type"]) == (429, "/problems/too-many-backtests")
    assert answer.headers["Retry-After"]
    assert (await bob.request_backtest()).status == 202
    await ann.call("DELETE", path)
    assert (await ann.request_backtest()).status == 202


async def _fill_queue(scene: Scene, backtest_id: str, count: int) -> None:
    """Insert copies of a queued backtest."""
    rows = await scene.trading.fetch(
        "SELECT column_name AS name FROM information_schema.columns "
        "WHERE table_schema = 'trading' AND table_name = 'backtests' AND column_name <> 'backtest_id'"
    )
    columns = ", ".join(row["name"] for row in rows)
    await scene.trading.fetch(
        f"""
        WITH copied AS (
            INSERT INTO backtests (backtest_id, {columns})
            SELECT gen_random_uuid(), {columns} FROM backtests, generate_series(1, $2::integer)
            WHERE backtest_id = $1::uuid RETURNING user_id, backtest_id
        )
        INSERT INTO backtest_jobs (user_id, backtest_id) SELECT * FROM copied
        """,
        backtest_id,
        count,
    )


async def test_a_request_repeated_with_its_key_is_accepted_once(scene: Scene) -> None:
    ann = await scene.person(max_per_day=1)
    ann.strategy_id = await ann.make_strategy()
    body: Json = {"strategy_id": ann.strategy_id, "symbol": "BTCUSDT", "from": at(0), "to": at(9)}
    first, second = [await ann.call("POST", "/v1/backtests", body, Idempotency_Key="once") for _ in range(2)]
    assert (first.status, first.raw) == (second.status, second.raw)
    assert first.headers["Location"] == second.headers["Location"]
    assert len(await ann.list_all("/v1/backtests")) == 1


async def test_the_list_is_filtered_and_sorted(scene: Scene) -> None:
    await scene.store(wavy_bars(30), "ETHUSDT")
    ann = await scene.person()
    paths = [await ann.queue_backtest(fee_rate=f"0.0{index}") for index in range(1, 9)]
    paths.append(await ann.queue_backtest(symbol="ETHUSDT", to=at(30)))
    await ann.call("DELETE", paths[2])

    async def listed(query: str) -> list[str]:
        return [f"/v1/backtests/{each['backtest_id']}" for each in await ann.list_all("/v1/backtests?" + query)]

    assert await listed("sort=created_at") == paths
    assert await listed("sort=-created_at") == await listed("") == paths[::-1]
    assert await listed("status=CANCELLED") == [paths[2]]
    assert await listed("symbol=ETHUSDT") == [paths[8]]
    assert await listed(f"strategy_id={ann.strategy_id}&status=QUEUED&sort=created_at") == [*paths[:2], *paths[3:]]
    assert await listed(f"strategy_id={'0' * 8}-0000-0000-0000-{'0' * 12}") == []
    page = await ann.get("/v1/backtests?sort=created_at&limit=1")
    other = await ann.call("GET", f"/v1/backtests?sort=-created_at&cursor={page['next_cursor']}")
    assert list(reasons(other)) == ["$.cursor"]


async def test_a_tenant_cannot_see_or_cancel_another_tenants_backtests(scene: Scene) -> None:
    ann, bob = await scene.person(1), await scene.person(2)
    path = await ann.queue_backtest()
    for method, tail in (("GET", ""), ("GET", "/fills"), ("GET", "/trades"), ("DELETE", "")):
        assert (await bob.call(method, path + tail)).status == 404
    assert (await bob.get("/v1/backtests"))["items"] == []
    assert (await ann.get(path))["status"] == "QUEUED"


async def test_amounts_are_plain_decimal_strings(scene: Scene) -> None:
    ann = await scene.person()
    seen = await ann.get(await ann.queue_backtest(fee_rate="0.00060", initial_balance="1000.50"))
    assert (seen["fee_rate"], seen["slippage"], seen["initial_balance"]) == ("0.0006", "0", "1000.5")
