"""`backtest` accepts what `candles fetch` writes: both widen a bar that does not enclose its open."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner, Result

from cli.backtest import backtest
from cli.candles.fetch import fetch_command
from tests.unit.strategy.scenes import document

pytestmark = pytest.mark.beside_checkout


@pytest.fixture
async def endpoint(shared_folder: Path) -> AsyncIterator[str]:
    klines = json.loads((shared_folder / "cases" / "fetched-file-refused" / "klines.json").read_text())

    async def kline(_: web.Request) -> web.Response:
        return web.json_response(klines)

    async def time(_: web.Request) -> web.Response:
        result = {"timeSecond": "1736000000", "timeNano": "1736000000000000000"}
        return web.json_response({"retCode": 0, "retMsg": "OK", "result": result, "retExtInfo": {}, "time": 1})

    app = web.Application()
    app.router.add_get("/v5/market/kline", kline)
    app.router.add_get("/v5/market/time", time)
    server = TestServer(app)
    await server.start_server()
    yield f"http://127.0.0.1:{server.port}"
    await server.close()


async def test_fetched_candles_are_widened_and_accepted(endpoint: str, tmp_path: Path) -> None:
    file = tmp_path / "f.csv"
    span = ["--from", "1734656400000", "--to", "1734667200000", "-o", str(file), "--endpoint", endpoint]
    fetched = await asyncio.to_thread(CliRunner().invoke, fetch_command, ["BTCUSDT", "--interval", "60", *span])
    assert fetched.exit_code == 0, fetched.output
    assert "1 widened" in fetched.stdout
    assert "2024-12-20T02:00:00Z" in fetched.stdout
    assert file.read_text().splitlines()[2] == "1734660000000,100.05,100.05,99.00,100.02,5"
    assert run_backtest_on(file, tmp_path).exit_code == 0


async def test_unchanged_numbers_of_the_exchange_in_a_file_are_widened_and_reported(
    shared_folder: Path, tmp_path: Path
) -> None:
    rows = json.loads((shared_folder / "cases" / "fetched-file-refused" / "klines.json").read_text())
    lines = [",".join(row[:6]) for row in reversed(rows["result"]["list"])]
    (tmp_path / "f.csv").write_text("\n".join(["open_time_ms,open,high,low,close,volume", *lines]) + "\n")
    result = run_backtest_on(tmp_path / "f.csv", tmp_path)
    assert result.exit_code == 0
    assert "widened        1: line 3" in result.stdout


def run_backtest_on(file: Path, folder: Path) -> Result:
    (folder / "s.json").write_text(json.dumps(document()))
    return CliRunner().invoke(backtest, ["--candles", str(file), "--strategy", str(folder / "s.json")])
