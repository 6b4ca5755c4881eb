"""`tradefleet candles fetch` against the sandbox, with faulty answers in between."""

import asyncio
import gzip
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from aiohttp.typedefs import Handler
from click.testing import CliRunner, Result

from cli.candles import fetch
from cli.candles.fetch import fetch_command
from cli.candles.file import read_candles
from cli.candles.instrument import find_instrument_file
from cli.candles.part import CandlesRequest, PartialFile
from sandbox.bybit.replay import Candle, Market
from sandbox.bybit.server import make_app
from services.trading.bybit_api import parse_bar
from stack.migrate import ROOT
from tests.integration.accounts import eventually

MINUTE_MS = 60_000
FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BARS = 2_500
TO = BARS - 50
HOLES = {1_200, 1_201, 1_900}
Fault = Callable[[web.Request], web.StreamResponse]


def rate_limited(_: web.Request) -> web.StreamResponse:
    body = {"retCode": 10006, "retMsg": "Too many visits. Exceeded the API Rate Limit.", "result": {}, "time": 1}
    return web.json_response(body, headers={"X-Bapi-Limit-Reset-Timestamp": "1"})  # past: pybit would fail on it


def banned(_: web.Request) -> web.StreamResponse:
    return web.Response(status=403, text="access too frequent")


def page_of_a_proxy(_: web.Request) -> web.StreamResponse:
    return web.Response(status=502, text="<html>bad\ngateway</html>", content_type="text/html")


def cut_short(_: web.Request) -> web.StreamResponse:
    return web.Response(text='{"retCode": 0, "result": {"list": [["17', content_type="application/json")


def dropped(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    raise web.HTTPBadRequest


@dataclass
class Exchange:
    """The sandbox exchange. Each of `faults` replaces one answer to a request for candles, in order."""

    url: str = ""
    requests: int = 0
    faults: list[Fault] = field(default_factory=list)
    hold_from: int = 10**9  # from this request on, answers are held back

    def app(self) -> web.Application:
        candles = [bar(minute) for minute in range(BARS) if minute not in HOLES]
        market = Market({"BTCUSDT": candles})
        for _ in range(market.steps_total - 1):  # the last bar is still open
            market.step()
        app = make_app(market, {})
        answer = self._answer

        @web.middleware
        async def intercept(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await answer(request, handler)

        app.middlewares.append(intercept)
        return app

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.endswith("/kline"):
            return await handler(request)
        self.requests += 1
        if self.requests >= self.hold_from:
            await asyncio.sleep(60)
        return self.faults.pop(0)(request) if self.faults else await handler(request)


def bar(minute: int) -> Candle:
    """Return a bar unlike any other, with trailing zeros as an exchange writes them."""
    opened = 1_000 + minute
    prices = (f"{opened}.50", f"{opened + 3}.00", f"{opened - 2}", f"{opened + 1}.25")
    return Candle(FIRST_MS + minute * MINUTE_MS, *prices, "7.100")


@pytest.fixture
async def exchange() -> AsyncIterator[Exchange]:
    exchange = Exchange()
    server = TestServer(exchange.app())
    await server.start_server()
    exchange.url = f"http://127.0.0.1:{server.port}"
    yield exchange
    await server.close()


def options(exchange: Exchange, file: Path, **changes: str) -> list[str]:
    words = {"symbol": "BTCUSDT", "--interval": "1", "--from": str(FIRST_MS)}
    words |= {"--to": str(FIRST_MS + TO * MINUTE_MS), "--endpoint": exchange.url, "-o": str(file), **changes}
    return [words.pop("symbol"), *(part for pair in words.items() for part in pair)]


async def run_fetch(exchange: Exchange, file: Path, *more: str, **changes: str) -> Result:
    arguments = [*options(exchange, file, **changes), *more]
    return await asyncio.to_thread(CliRunner().invoke, fetch_command, arguments)


def rows(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode().splitlines()


def row(minute: int) -> str:
    candle = bar(minute)
    return f"{candle.start},{candle.open},{candle.high},{candle.low},{candle.close},{candle.volume}"


EXPECTED = [row(minute) for minute in range(TO) if minute not in HOLES]


async def test_all_closed_bars_are_written_as_the_exchange_formats_them(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    result = await run_fetch(exchange, file, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(file) == ["open_time_ms,open,high,low,close,volume", *EXPECTED]
    assert len(read_candles(file, MINUTE_MS)) == len(EXPECTED)
    report: dict[str, Any] = json.loads(result.stdout)
    assert (report["bars"], report["first"], report["resumed_from"]) == (len(EXPECTED), "2026-01-01T00:00:00Z", 0)
    assert [hole["missing"] for hole in report["holes"]] == [2, 1]
    assert sorted(tmp_path.iterdir()) == [file, tmp_path / "c.csv.gz.instrument.json"]


async def test_an_existing_file_is_replaced_only_with_force(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("precious")
    span = {"--from": str(FIRST_MS), "--to": str(FIRST_MS + 3 * MINUTE_MS)}
    refused = await run_fetch(exchange, file, **span)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "--force" in refused.stderr
    assert (file.read_text(), exchange.requests, list(tmp_path.iterdir())) == ("precious", 0, [file])
    assert (await run_fetch(exchange, file, "--force", **span)).exit_code == 0
    assert file.read_text().splitlines()[1:] == [row(0), row(1), row(2)]


async def test_the_instrument_is_saved_next_to_the_candles(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    result = await run_fetch(exchange, file)
    saved = find_instrument_file(file)
    assert saved is not None
    assert (saved.symbol, saved.interval, str(saved.instrument.tick_size)) == ("BTCUSDT", "1", "0.01")
    assert "c.csv.gz.instrument.json" in result.stdout


@pytest.mark.parametrize(
    ("time_ms", "low", "reason"),
    [
        (FIRST_MS + MINUTE_MS, "0", "a price is not above 0"),
        (FIRST_MS + 90_000, "1", f"open_time_ms {FIRST_MS + 90_000} is 30 s past the grid of 1 min (UTC)"),
    ],
)
async def test_an_invalid_bar_is_one_line_and_not_retried(
    exchange: Exchange, tmp_path: Path, time_ms: int, low: str, reason: str
) -> None:
    def invalid(_: web.Request) -> web.StreamResponse:
        listed = [[str(time_ms), "1", "1", low, "1", "5", "5"]]
        result = {"category": "linear", "symbol": "BTCUSDT", "list": listed}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})

    exchange.faults = [invalid]
    result = await run_fetch(exchange, tmp_path / "c.csv")
    assert (result.exit_code, result.stdout, result.stderr.count("\n"), exchange.requests) == (2, "", 1, 1)
    assert f"an invalid bar: the bar of {time_ms}: {reason}" in result.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_resumed_run_also_reports_earlier_widened_bars(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    request = CandlesRequest("BTCUSDT", "1", FIRST_MS, FIRST_MS + TO * MINUTE_MS, exchange.url)
    with PartialFile(file, request) as part:  # an earlier run, interrupted after its first bar
        part.append([parse_bar(FIRST_MS, "2", "1", "3", "1.5", "5", interval="1")])
    result = await run_fetch(exchange, file, "--json")
    assert json.loads(result.stdout)["widened"] == [FIRST_MS]
    assert file.read_text().splitlines()[1] == f"{FIRST_MS},2,3,1,1.5,5"


async def test_a_range_is_fetched_into_an_uncompressed_file(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    first, before = str(FIRST_MS + 10 * MINUTE_MS), str(FIRST_MS + 13 * MINUTE_MS)
    result = await run_fetch(exchange, file, **{"--from": first, "--to": before})
    assert file.read_text().splitlines()[1:] == [row(10), row(11), row(12)]
    assert result.stdout.splitlines()[1] == "no gaps"


async def test_a_range_that_ends_in_the_future_gives_every_closed_bar(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    await run_fetch(exchange, file, **{"--from": str(FIRST_MS + 2_450 * MINUTE_MS), "--to": "2030-01-01"})
    assert rows(file)[1:] == [row(minute) for minute in range(2_450, BARS - 1)]


async def test_years_before_the_first_bar_are_skipped_quickly(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    result = await run_fetch(exchange, file, **{"--from": "2020-01-01"})
    assert (result.exit_code, rows(file)[1:]) == (0, EXPECTED)
    assert exchange.requests < 50  # of 3,156 pages in the range


@pytest.mark.parametrize("fault", [rate_limited, banned, page_of_a_proxy, cut_short, dropped])
async def test_a_faulty_answer_is_retried(exchange: Exchange, tmp_path: Path, fault: Fault) -> None:
    file = tmp_path / "c.csv.gz"
    exchange.faults = [fault]
    result = await run_fetch(exchange, file)
    assert (result.exit_code, result.stderr) == (0, "")
    assert rows(file)[1:] == EXPECTED


async def test_an_unlisted_symbol_is_one_line_and_no_file(exchange: Exchange, tmp_path: Path) -> None:
    result = await run_fetch(exchange, tmp_path / "c.csv.gz", symbol="NOPEUSDT")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "lists no linear contract NOPEUSDT" in result.stderr
    assert list(tmp_path.iterdir()) == []


async def test_ctrl_c_keeps_the_fetched_bars_and_the_next_run_resumes(exchange: Exchange, tmp_path: Path) -> None:
    file, part = tmp_path / "c.csv.gz", tmp_path / "c.csv.gz.part"
    exchange.hold_from = 2
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", "candles", "fetch", *options(exchange, file)]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )

    async def requests() -> int:
        return exchange.requests

    await eventually(requests, lambda count: count == 2, 60)
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "interrupted"
    assert "1000 bars are kept" in errors.decode()
    assert not file.exists()
    part.write_bytes(part.read_bytes() + b"1767")  # as if the process had been killed in the middle of a line
    exchange.hold_from = 10**9
    result = await run_fetch(exchange, file, "--json")
    assert json.loads(result.stdout)["resumed_from"] == 1_000
    assert rows(file)[1:] == EXPECTED
    assert exchange.requests == 4
    assert not part.exists()


async def test_the_part_file_of_another_request_is_not_resumed(exchange: Exchange, tmp_path: Path) -> None:
    file, part = tmp_path / "c.csv.gz", tmp_path / "c.csv.gz.part"
    part.write_text('{"symbol": "ETHUSDT"}\n1,1,1,1,1,1\n')
    result = await run_fetch(exchange, file)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "was left by another fetch" in result.stderr
    assert part.exists()


async def test_waiting_for_an_unreachable_exchange_is_reported_and_bounded(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MIN_REPORTED_WAIT_S", 0.2)
    monkeypatch.setattr(fetch, "FIRST_WAITS_S", (0.1, 0.2, 0.3))
    result = await run_fetch(exchange, tmp_path / "c.csv.gz", **{"--endpoint": "http://127.0.0.1:1"})
    first, second, last = result.stderr.splitlines()
    assert first.endswith("retry in 0.2 s")
    assert second.endswith("retry in 0.3 s")
    assert "the exchange does not answer: " in last
    assert last.endswith("nothing was fetched")
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symbol": "btc/usdt"}, "is not a symbol"),
        ({"--interval": "7"}, "'7' is not one of"),
        ({"--from": "then"}, "--from: "),
        ({"--to": str(FIRST_MS)}, "--to: must be later than --from"),
        ({"--endpoint": "localhost"}, "--endpoint: "),
        ({"-o": "/nowhere/c.csv"}, "cannot be written"),
        ({"--from": "2030-01-01", "--to": "2031-01-01"}, "has no closed bars"),
    ],
)
async def test_bad_input_is_one_line_and_exit_code_2(
    exchange: Exchange, tmp_path: Path, changes: dict[str, str], message: str
) -> None:
    result = await run_fetch(exchange, tmp_path / "c.csv.gz", **changes)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []
