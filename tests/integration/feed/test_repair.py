"""`tradefleet candles check|repair`: gaps in storage are distinguished from gaps in the market, and filled."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from cli.candles.command import candles as command
from services.trading.bybit_api import parse_bar
from services.trading.feed import queries
from services.trading.feed.generations import chain_bars
from shared.contracts.types import from_ms
from tests.integration.commands.conftest import parse_json, run_command
from tests.integration.feed.conftest import FeedScene
from tests.integration.feed.exchange import FIRST_MS, MINUTE_MS, candles

HOLED = candles([*range(10), *range(12, 1_500)])
Run = Callable[..., Any]  # Any: awaited for a Result


def minutes(*numbers: int) -> list[Any]:
    return [from_ms(FIRST_MS + number * MINUTE_MS) for number in numbers]


@pytest.fixture
async def run_candles(scene: FeedScene) -> Run:
    """Store the series as the exchange has it; the command runs in a thread, as this loop serves the exchange."""
    await scene.exchange.step(1_503)
    fields = [[getattr(bar, name) for name in bar.__dataclass_fields__] for bar in HOLED]
    bars = [parse_bar(*each, interval="1") for each in fields]
    async with scene.database.tenants(()) as connection:
        *_, series = await queries.get_or_create_generations(connection, "BTCUSDT", "1")
        await queries.insert_candles(connection, series.series_id, chain_bars(bars[:1_490], None), "STREAM")
    env = {
        "POSTGRES_TRADING_WORKER_DSN": scene.env["POSTGRES_WORKER_DSN"],
        "BYBIT_REST_URL": scene.exchange.rest_url,
    }

    async def run(*words: str) -> Result:
        return await asyncio.to_thread(run_command, command, *words, env=env)

    return run


def found(result: Result) -> list[tuple[str, int]]:
    (generation,) = parse_json(result)["generations"]
    return [(finding["what"], finding["bars"]) for finding in generation["findings"]]


pytestmark = pytest.mark.parametrize("scene", [{"BTCUSDT": HOLED}], indirect=True)
SERIES = ("BTCUSDT", "--interval", "1", "--json")


async def test_a_gap_in_the_market_is_shown_and_no_fault(run_candles: Run) -> None:
    checked = await run_candles("check", *SERIES)
    assert (checked.exit_code, found(checked)) == (0, [("hole", 2)])


async def test_lost_bars_are_found_and_filled_in_once(scene: FeedScene, run_candles: Run) -> None:
    before = await scene.fetch("SELECT * FROM candles ORDER BY open_time")
    await scene.fetch("DELETE FROM candles WHERE open_time = ANY ($1::timestamptz[])", minutes(0, 4, 5, 9, 1_400))
    checked = await run_candles("check", *SERIES)
    assert checked.exit_code == 1
    assert [each for each in found(checked) if each[0] == "missing"] == [
        ("missing", 1),
        ("missing", 2),
        ("missing", 1),
        ("missing", 1),
    ]
    assert ("hole", 2) in found(checked)
    repaired = await run_candles("repair", *SERIES)
    assert (repaired.exit_code, parse_json(repaired)["generations"][0]["repaired"]) == (0, 5)
    again = await run_candles("repair", *SERIES)
    assert (again.exit_code, found(again)) == (0, [("hole", 2)])
    after = await scene.fetch("SELECT * FROM candles ORDER BY open_time")
    values = ("open_time", "previous_open_time", "open", "high", "low", "close", "volume")
    assert [[row[name] for name in values] for row in after] == [[row[name] for name in values] for row in before]


async def test_a_stored_bar_is_never_changed(scene: FeedScene, run_candles: Run) -> None:
    await scene.fetch("UPDATE candles SET close = 7 WHERE open_time = ANY ($1::timestamptz[])", minutes(3))
    for verb in ("check", "repair", "check"):
        result = await run_candles(verb, *SERIES)
        assert (result.exit_code, ("changed", 1) in found(result)) == (1, True)
    (stored,) = await scene.fetch("SELECT close FROM candles WHERE open_time = ANY ($1::timestamptz[])", minutes(3))
    assert stored["close"] == 7


async def test_a_wrong_link_to_the_previous_bar_is_repaired(scene: FeedScene, run_candles: Run) -> None:
    await scene.fetch(
        "UPDATE candles SET previous_open_time = $1 WHERE open_time = ANY ($2::timestamptz[])",
        *minutes(1),
        minutes(8),
    )
    assert ("unlinked", 1) in found(await run_candles("check", *SERIES))
    assert (await run_candles("repair", *SERIES)).exit_code == 0
    assert found(await run_candles("check", *SERIES)) == [("hole", 2)]


async def test_findings_are_shown_as_a_table_too(scene: FeedScene, run_candles: Run) -> None:
    await scene.fetch("DELETE FROM candles WHERE open_time = ANY ($1::timestamptz[])", minutes(4))
    result = await run_candles("check", "BTCUSDT", "--interval", "1")
    assert result.exit_code == 1
    assert "2026-01-01T00:04:00.000Z" in result.stdout
    assert "1489 bars stored, 1 missing, 1 unlinked, 2 hole" in result.stdout


async def test_a_check_that_cannot_run_is_one_line_and_exit_code_2(scene: FeedScene, run_candles: Run) -> None:
    for words, why in [
        (("check", "ETHUSDT", "--interval", "1"), "no candles"),
        (("check", "BTCUSDT", "--interval", "5"), "no candles"),
        (("check", "BTCUSDT", "--interval", "7"), "interval"),
        (("check", "BTCUSDT", "--interval", "1", "--endpoint", "ftp://x"), "not an HTTP URL"),
        (("repair", "BTCUSDT", "--interval", "1", "--endpoint", "http://127.0.0.1:9"), "does not answer"),
        (("repair",), "Missing"),
    ]:
        result = await run_candles(*words)
        assert result.exit_code == 2, words
        assert why in result.stderr
        assert result.stderr.count("\n") == 1
