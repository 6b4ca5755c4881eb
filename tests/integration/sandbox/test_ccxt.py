"""ccxt, as it is installed by anyone, runs a whole order life against the sandbox."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Candle, Market
from tests.pace import patient

ROOT = Path(__file__).parents[3]
PEERS = ROOT / ".venv-peers-of-tests"
HOUR = 3_600_000
BARS = [Candle((470_000 + number) * HOUR, "100", "104", "98", "101", "35") for number in range(10)]


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxClient]:
    if not (PEERS / ".installed").exists():
        pytest.fail("ccxt is missing: `make .venv-peers-of-tests/.installed` installs it")
    async with serve(Market({"BTCUSDT": BARS})) as client:
        await client.step()
        yield client


async def run(script: str, sandbox: SandboxClient, account: SandboxAccount) -> dict[str, object]:
    """Return what a script of `tests/peers` prints."""
    arguments = (ROOT / "tests/peers" / script, sandbox.url, account.api_key, account.api_secret)
    peer = await asyncio.create_subprocess_exec(PEERS / "bin/python", *arguments, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(patient(60)):
        output, _ = await peer.communicate()
    found: dict[str, object] = json.loads(output)
    return found


async def test_ccxt_runs_a_whole_order_life(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account(balance="10000")
    assert await run("ccxt_peer.py", sandbox, account) == {
        "market": ["BTCUSDT", 0.001, 0.01],
        "balance": 10000.0,
        "leverage": 5,
        "entry": ["closed", 1.0, 100.0],
        "stop": ["sell", True, 90.0],
        "position": ["long", 1.0, 100.0, 90.0],
        "amended": [121.0, 0.4, "open"],
        "cancelled": ["canceled"],
        "triggered": "closed",
        "flat": [0, 0.0],
        "trades": [["buy", 1.0, "USDT"], ["sell", 0.25, "USDT"], ["sell", 0.75, "USDT"]],
        "refused": "InvalidOrder",
    }
    refused = [entry["outcome"] for entry in await sandbox.ledger() if entry["outcome"] != 0]
    assert len(refused) == 1


async def test_ccxt_follows_an_account_over_its_streams(sandbox: SandboxClient) -> None:
    account = await sandbox.open_account()
    peer = asyncio.create_task(run("ccxt_streams_peer.py", sandbox, account))
    async with asyncio.timeout(patient(30)):
        while len(await sandbox.private_topics(account)) < 3:
            await asyncio.sleep(0.05)
    order = {"category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Market", "qty": "1"}
    await sandbox.post(account, "/v5/order/create", **order)
    assert await peer == {
        "book": 100.0,
        "ticker": 100.0,
        "order": "buy",
        "trade": [100.0, 1.0],
        "balance": 9999.945,
    }
