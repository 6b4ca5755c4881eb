"""`tradefleet sandbox bybit` starts the sandbox alone; a wrong option is one line and exit code 2."""

import asyncio
import json
import socket
import sys
from pathlib import Path

import aiohttp
import pytest

from sandbox.bybit.__main__ import main
from sandbox.bybit.client import SandboxAccount, connect
from tests.pace import patient

ROOT = Path(__file__).parents[3]
PROGRAM = "tradefleet sandbox bybit"


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    file = tmp_path / "candles.csv"
    file.write_text("open_time_ms,open,high,low,close,volume\n1692000000000,100,104,98,101,35\n")
    return file


@pytest.mark.parametrize(
    "options",
    [
        "",
        "--port 9001",
        "--port 0 --made-up",
        "--port x --made-up",
        "--port 9001 --made-up --candles BTCUSDT=x.csv",
        "--port 9001 --candles x.csv",
        "--port 9001 --candles BTCUSDT=no-such-file.csv",
        "--port 9001 --made-up --bar-ms 0",
        "--port 9001 --made-up --bar-ms 10 --two-phase",
        "--port 9001 --made-up --accounts no-such-file.json",
        "--port 9001 --made-up --ledger no/such/folder/file",
        "--port 9001 --made-up --unknown",
    ],
)
def test_a_wrong_option_is_one_line(options: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(options.split(), PROGRAM)
    assert end.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith(f"{PROGRAM}: ")
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--accounts", "{}"),
        ("--accounts", "["),
        ("--accounts", '[{"balance": "x"}]'),
        ("--instruments", '{"BTCUSDT": {"tick_size": "x"}}'),
        ("--instruments", '{"BTCUSDT": {"colour": "red"}}'),
    ],
)
def test_a_wrong_file_is_one_line(
    option: str, text: str, tmp_path: Path, candles: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.json"
    file.write_text(text)
    with pytest.raises(SystemExit) as end:
        main(["--port", "9001", "--candles", f"BTCUSDT={candles}", option, str(file)], PROGRAM)
    assert end.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


async def test_it_starts_alone_with_accounts_and_a_ledger(tmp_path: Path, candles: Path) -> None:
    accounts, ledger = tmp_path / "accounts.json", tmp_path / "ledger.jsonl"
    accounts.write_text(json.dumps([{"uid": "7", "balance": "500", "key": {"api_key": "k", "api_secret": "s"}}]))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--port", str(port), "--candles", f"BTCUSDT={candles}"]
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli", "sandbox", "bybit", *options),
        *("--accounts", accounts, "--ledger", ledger),
        cwd=ROOT,
    )
    try:
        async with connect(f"http://127.0.0.1:{port}") as sandbox:
            async with asyncio.timeout(patient(20)):
                while True:
                    try:
                        await sandbox.state()
                        break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.1)
            answer = await sandbox.get(
                SandboxAccount("7", "k", "s"), "/v5/account/wallet-balance", accountType="UNIFIED"
            )
    finally:
        process.terminate()
        await process.wait()
    assert '"totalEquity": "500"' in json.dumps(answer)
    assert "wallet-balance" in ledger.read_text()
