"""`tradefleet session verify`: a finished session equals its backtest under its restrictions, or the difference is
shown."""

import asyncio
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from click.testing import CliRunner, Result

from cli.session import session as command
from services.trading.operations.pause_session import pause_session, resume_session
from services.trading.operations.stop_session import stop_session
from shared.contracts.types import from_ms, new_id
from tests.as_tenant import as_tenant
from tests.integration.trading.conftest import Trading
from tests.integration.trading.market import BEFORE
from tests.unit.trading.scenes import wavy_bars

ServiceEnv = Callable[[str], dict[str, str]]


async def verify(env: dict[str, str], *arguments: str) -> Result:
    """Run the command as an operator does."""
    given = {"POSTGRES_APP_DSN": env["POSTGRES_APP_DSN"]}
    return await asyncio.to_thread(CliRunner().invoke, command, ["verify", *arguments], env=given)


async def verification_of(env: dict[str, str], session_id: UUID) -> dict[str, Any]:
    result = await verify(env, str(session_id), "--json")
    assert result.exit_code == 0, result.output
    shown: dict[str, Any] = json.loads(result.stdout)
    return shown


async def test_sessions_with_pauses_and_stops_at_any_time_match_their_backtests(
    trading: Trading, service_env: ServiceEnv
) -> None:
    draw = random.Random(11)
    ann = await trading.subscribe(1)
    strategy_id = await trading.strategy(1)
    running = [(await trading.start(ann, strategy_id)).session_id for _ in range(5)]
    every_one = list(running)
    async with trading.worker():
        market = await trading.market(wavy_bars(161))
        for _ in range(32):
            await trading.until_stepped(await market.close_bars(5))
            one = draw.choice(every_one)
            if one in running:
                await as_tenant(trading.database, draw.choice((pause_session, resume_session)), 1, one)
            if len(running) > 1 and draw.random() < 0.12:
                await as_tenant(trading.database, stop_session, 1, running.pop(), "manual", BEFORE)
        for one in running:
            await as_tenant(trading.database, stop_session, 1, one, "end_of_data", BEFORE)
    shown = [await verification_of(service_env("trading"), one) for one in every_one]
    assert all(each["equal"] and each["fingerprint"] == each["backtest_fingerprint"] for each in shown)
    assert len({each["fingerprint"] for each in shown}) == len(shown)
    assert sum(each["fills"] for each in shown) > 50
    assert {note["kind"] for each in shown for note in each["restrictions"]} == {"PAUSED", "RESUMED", "STOPPED"}


async def test_a_session_report_shows_its_restrictions(
    trading: Trading, service_env: ServiceEnv, tmp_path: Path
) -> None:
    ann = await trading.subscribe(1)
    session_id = (await trading.start(ann, await trading.strategy(1))).session_id
    async with trading.worker():
        market = await trading.market(wavy_bars(61))
        await trading.until_stepped(await market.close_bars(30))
        await as_tenant(trading.database, pause_session, 1, session_id)
        await trading.until_stepped(await market.close_bars(30))
    env, page = {"POSTGRES_APP_DSN": service_env("trading")["POSTGRES_APP_DSN"]}, tmp_path / "page.html"
    arguments = ["report", str(session_id), "--html", str(page), "--json"]
    running = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=env)
    assert (running.exit_code, page.exists()) == (2, False)
    await as_tenant(trading.database, stop_session, 1, session_id, "manual", BEFORE)
    result = await asyncio.to_thread(CliRunner().invoke, command, arguments, env=env)
    assert result.exit_code == 0, result.output
    shown, text = json.loads(result.stdout), page.read_text()
    assert shown["trades"] > 0
    assert f"All {shown['trades']} trades" in text
    assert "Paused after the bar of" in text
    assert str(session_id) in text


async def test_a_session_beyond_the_plan_limit_matches_its_backtest(
    trading: Trading, service_env: ServiceEnv
) -> None:
    ann = await trading.subscribe(1, "PREMIUM", strategies=5, symbols=10)
    first = await trading.start(ann, await trading.strategy(1))
    second = await trading.start(ann, await trading.strategy(1, strategy_name="second"))
    async with trading.worker():
        market = await trading.market(wavy_bars(121))
        await trading.until_stepped(await market.close_bars(30))
        await trading.subscribe(1, "FREE", strategies=1, symbols=1)
        await trading.until_stepped(await market.close_bars(40))
        await as_tenant(trading.database, stop_session, 1, first.session_id, "manual", BEFORE)
        await trading.until_stepped(await market.close_bars(50))
        await as_tenant(trading.database, stop_session, 1, second.session_id, "manual", BEFORE)
    shown = [await verification_of(service_env("trading"), each.session_id) for each in (first, second)]
    assert shown[0]["fingerprint"] != shown[1]["fingerprint"]
    kinds = [note["kind"] for note in shown[1]["restrictions"]]
    assert kinds == ["PLAN_LIMIT", "PLAN_LIMIT_LIFTED", "STOPPED"]


async def test_a_session_started_in_mid_series_under_limits_matches_its_backtest(
    trading: Trading, service_env: ServiceEnv
) -> None:
    bars = wavy_bars(100)
    ann = await trading.subscribe(1)
    limits = await trading.configuration(1, max_position_size=5_010)
    async with trading.worker():
        market = await trading.market(bars)
        await market.close_bars(30)
        now = from_ms(bars[30].open_time_ms)
        session = await trading.start(ann, await trading.strategy(1), configuration_id=limits, venue_now=now)
        await trading.until_stepped(await market.close_bars(70))
    await as_tenant(trading.database, stop_session, 1, session.session_id, "end_of_data", BEFORE)
    shown = await verification_of(service_env("trading"), session.session_id)
    assert shown["bars"] == 100
    assert shown["fills"] > 0
    assert await trading.fetch("SELECT 1 FROM decisions WHERE refusal = 'max_position_size'")


async def test_a_session_that_never_stepped_matches_its_backtest(trading: Trading, service_env: ServiceEnv) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    assert (await verification_of(service_env("trading"), session.session_id))["fills"] == 0


async def test_the_first_fill_that_differs_from_the_backtest_is_shown(
    trading: Trading, service_env: ServiceEnv
) -> None:
    ann = await trading.subscribe(1)
    session = await trading.start(ann, await trading.strategy(1))
    async with trading.worker():
        market = await trading.market(wavy_bars(60))
        await trading.until_stepped(await market.close_bars(60))
        await as_tenant(trading.database, stop_session, 1, session.session_id, "manual", BEFORE)
    await trading.fetch("UPDATE fills SET price = price + 1 WHERE fill_number = 4")
    result = await verify(service_env("trading"), str(session.session_id))
    assert result.exit_code == 1
    assert f"session {session.session_id}: fill 4 is" in result.stderr
    shown = json.loads((await verify(service_env("trading"), str(session.session_id), "--json")).stdout)
    assert (shown["equal"], shown["first_difference"]["fill_number"]) == (False, 4)
    assert shown["first_difference"]["session"] != shown["first_difference"]["backtest"]


async def test_an_unverifiable_session_is_a_one_line_error(trading: Trading, service_env: ServiceEnv) -> None:
    ann = await trading.subscribe(1)
    running = await trading.start(ann, await trading.strategy(1))
    for given, message in (
        ("what is that", "is not a session id"),
        (str(new_id()), "there is no session"),
        (str(running.session_id), "is ACTIVE: stop it first"),
    ):
        result = await verify(service_env("trading"), given)
        assert (given, result.exit_code) == (given, 2)
        assert message in result.stderr
        assert result.stderr.count("\n") == 1
    nowhere = {"POSTGRES_APP_DSN": "postgresql://nobody:x@127.0.0.1:1/nothing"}
    assert (await verify(nowhere, str(new_id()))).exit_code == 2
