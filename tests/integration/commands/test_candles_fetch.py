"""`tradefleet candles fetch` against the sandbox, which answers badly now and then."""

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
from services.trading.bybit_api import kline_of
from stack.migrate import ROOT
from tests.integration.accounts import eventually

MINUTE_MS = 60_000
FIRST_MS = 1_767_225_600_000  # 2026-01-01T00:00:00Z
BARS = 2_500
TO = BARS - 50
HOLES = {1_200, 1_201, 1_900}
Fault = Callable[[web.Request], web.StreamResponse]


def rate_limited(_: web.Request) -> web.StreamResponse:
    told = {"retCode": 10006, "retMsg": "Too many visits. Exceeded the API Rate Limit.", "result": {}, "time": 1}
    return web.json_response(told, headers={"X-Bapi-Limit-Reset-Timestamp": "1"})  # past: pybit would fall over it


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
    """The sandbox; the faults are the next answers to whoever asks for candles."""

    url: str = ""
    asked: int = 0
    faults: list[Fault] = field(default_factory=list)
    hold_from: int = 10**9  # requests from this one on are not answered

    def app(self) -> web.Application:
        candles = [bar(minute) for minute in range(BARS) if minute not in HOLES]
        market = Market({"BTCUSDT": candles})
        for _ in range(market.steps_total - 1):  # the last bar is still open
            market.step()
        app = make_app(market, {})
        answer = self._answer

        @web.middleware
        async def in_between(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await answer(request, handler)

        app.middlewares.append(in_between)
        return app

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.endswith("/kline"):
            return await handler(request)
        self.asked += 1
        if self.asked >= self.hold_from:
            await asyncio.sleep(60)
        return self.faults.pop(0)(request) if self.faults else await handler(request)


def bar(minute: int) -> Candle:
    """Each unlike any other, with zeros at the end as an exchange writes them."""
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
    given = {"symbol": "BTCUSDT", "--interval": "1", "--from": str(FIRST_MS)}
    given |= {"--to": str(FIRST_MS + TO * MINUTE_MS), "--endpoint": exchange.url, "-o": str(file), **changes}
    return [given.pop("symbol"), *(part for pair in given.items() for part in pair)]


async def fetched(exchange: Exchange, file: Path, *more: str, **changes: str) -> Result:
    arguments = [*options(exchange, file, **changes), *more]
    return await asyncio.to_thread(CliRunner().invoke, fetch_command, arguments)


def rows(file: Path) -> list[str]:
    return gzip.decompress(file.read_bytes()).decode().splitlines()


def row(minute: int) -> str:
    candle = bar(minute)
    return f"{candle.start},{candle.open},{candle.high},{candle.low},{candle.close},{candle.volume}"


EXPECTED = [row(minute) for minute in range(TO) if minute not in HOLES]


async def test_all_closed_bars_are_fetched_as_the_exchange_writes_them(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    done = await fetched(exchange, file, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert rows(file) == ["open_time_ms,open,high,low,close,volume", *EXPECTED]
    assert len(read_candles(file, MINUTE_MS)) == len(EXPECTED)
    told: dict[str, Any] = json.loads(done.stdout)
    assert (told["bars"], told["first"], told["resumed_from"]) == (len(EXPECTED), "2026-01-01T00:00:00Z", 0)
    assert [hole["missing"] for hole in told["holes"]] == [2, 1]
    assert sorted(tmp_path.iterdir()) == [file, tmp_path / "c.csv.gz.instrument.json"]


async def test_a_file_that_is_there_is_replaced_by_force_only(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    file.write_text("precious")
    span = {"--from": str(FIRST_MS), "--to": str(FIRST_MS + 3 * MINUTE_MS)}
    refused = await fetched(exchange, file, **span)
    assert (refused.exit_code, refused.stdout, refused.stderr.count("\n")) == (2, "", 1)
    assert "--force" in refused.stderr
    assert (file.read_text(), exchange.asked, list(tmp_path.iterdir())) == ("precious", 0, [file])
    assert (await fetched(exchange, file, "--force", **span)).exit_code == 0
    assert file.read_text().splitlines()[1:] == [row(0), row(1), row(2)]


async def test_the_instrument_is_kept_beside_the_candles(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    done = await fetched(exchange, file)
    beside = find_instrument_file(file)
    assert beside is not None
    assert (beside.symbol, beside.interval, str(beside.instrument.tick_size)) == ("BTCUSDT", "1", "0.01")
    assert "c.csv.gz.instrument.json" in done.stdout


async def test_what_is_no_bar_is_one_line_and_not_asked_again(exchange: Exchange, tmp_path: Path) -> None:
    def priceless(_: web.Request) -> web.StreamResponse:
        listed = [[str(FIRST_MS + MINUTE_MS), "1", "1", "0", "1", "5", "5"]]
        result = {"category": "linear", "symbol": "BTCUSDT", "list": listed}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})

    exchange.faults = [priceless]
    done = await fetched(exchange, tmp_path / "c.csv")
    assert (done.exit_code, done.stdout, done.stderr.count("\n"), exchange.asked) == (2, "", 1, 1)
    assert f"an invalid bar: the bar of {FIRST_MS + MINUTE_MS}: a price is not above 0" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_a_widened_bar_is_reported_by_the_run_that_goes_on_too(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    question = CandlesRequest("BTCUSDT", "1", FIRST_MS, FIRST_MS + TO * MINUTE_MS, exchange.url)
    with PartialFile(file, question) as part:  # an earlier run, interrupted after its first bar
        part.append([kline_of(FIRST_MS, "2", "1", "3", "1.5", "5", interval="1")])
    done = await fetched(exchange, file, "--json")
    assert json.loads(done.stdout)["widened"] == [FIRST_MS]
    assert file.read_text().splitlines()[1] == f"{FIRST_MS},2,3,1,1.5,5"


async def test_a_range_and_a_plain_file_are_what_they_are_asked_to_be(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv"
    first, before = str(FIRST_MS + 10 * MINUTE_MS), str(FIRST_MS + 13 * MINUTE_MS)
    done = await fetched(exchange, file, **{"--from": first, "--to": before})
    assert file.read_text().splitlines()[1:] == [row(10), row(11), row(12)]
    assert done.stdout.splitlines()[1] == "no gaps"


async def test_without_an_end_it_is_every_bar_that_is_over_and_no_other(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    await fetched(exchange, file, **{"--from": str(FIRST_MS + 2_450 * MINUTE_MS), "--to": "2030-01-01"})
    assert rows(file)[1:] == [row(minute) for minute in range(2_450, BARS - 1)]


async def test_years_before_the_first_bar_are_passed_over_quickly(exchange: Exchange, tmp_path: Path) -> None:
    file = tmp_path / "c.csv.gz"
    done = await fetched(exchange, file, **{"--from": "2020-01-01"})
    assert (done.exit_code, rows(file)[1:]) == (0, EXPECTED)
    assert exchange.asked < 50  # of 3,156 pages


@pytest.mark.parametrize("fault", [rate_limited, banned, page_of_a_proxy, cut_short, dropped])
async def test_what_the_exchange_answers_badly_is_asked_again(
    exchange: Exchange, tmp_path: Path, fault: Fault
) -> None:
    file = tmp_path / "c.csv.gz"
    exchange.faults = [fault]
    done = await fetched(exchange, file)
    assert (done.exit_code, done.stderr) == (0, "")
    assert rows(file)[1:] == EXPECTED


async def test_a_symbol_that_is_not_listed_is_one_line_and_no_file(exchange: Exchange, tmp_path: Path) -> None:
    done = await fetched(exchange, tmp_path / "c.csv.gz", symbol="NOPEUSDT")
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "lists no linear contract NOPEUSDT" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def test_ctrl_c_keeps_what_is_there_and_the_next_run_goes_on(exchange: Exchange, tmp_path: Path) -> None:
    file, part = tmp_path / "c.csv.gz", tmp_path / "c.csv.gz.part"
    exchange.hold_from = 2
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "cli", "candles", "fetch", *options(exchange, file)]
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stderr=asyncio.subprocess.PIPE, start_new_session=True
    )

    async def asked() -> int:
        return exchange.asked

    await eventually(asked, lambda count: count == 2, 60)
    process.send_signal(signal.SIGINT)
    _, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    assert errors.decode().splitlines()[-1] == "interrupted"
    assert "1000 bars are kept" in errors.decode()
    assert not file.exists()
    part.write_bytes(part.read_bytes() + b"1767")  # as if it had been killed in the middle of a line
    exchange.hold_from = 10**9
    done = await fetched(exchange, file, "--json")
    assert json.loads(done.stdout)["resumed_from"] == 1_000
    assert rows(file)[1:] == EXPECTED
    assert exchange.asked == 4
    assert not part.exists()


async def test_what_another_fetch_left_is_not_mixed_in(exchange: Exchange, tmp_path: Path) -> None:
    file, part = tmp_path / "c.csv.gz", tmp_path / "c.csv.gz.part"
    part.write_text('{"symbol": "ETHUSDT"}\n1,1,1,1,1,1\n')
    done = await fetched(exchange, file)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert "was left by another fetch" in done.stderr
    assert part.exists()


async def test_where_nobody_answers_the_waiting_is_told_and_ends(
    exchange: Exchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "MIN_REPORTED_WAIT_S", 0.2)
    monkeypatch.setattr(fetch, "FIRST_WAITS_S", (0.1, 0.2, 0.3))
    done = await fetched(exchange, tmp_path / "c.csv.gz", **{"--endpoint": "http://127.0.0.1:1"})
    first, second, last = done.stderr.splitlines()
    assert first.endswith("retry in 0.2 s")
    assert second.endswith("retry in 0.3 s")
    assert "the exchange does not answer: " in last
    assert last.endswith("nothing was fetched")
    assert done.exit_code == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "said"),
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
async def test_wrong_input_is_one_line_and_two(
    exchange: Exchange, tmp_path: Path, changes: dict[str, str], said: str
) -> None:
    done = await fetched(exchange, tmp_path / "c.csv.gz", **changes)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []
