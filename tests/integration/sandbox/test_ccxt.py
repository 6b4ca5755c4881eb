"""ccxt, as it is installed by anyone, runs a whole order life against the sandbox."""

import asyncio
import json
from pathlib import Path

import pytest

from sandbox.bybit.client import serve
from sandbox.bybit.replay import Candle, Market
from tests.pace import patient

ROOT = Path(__file__).parents[3]
PEERS = ROOT / ".venv-peers-of-tests"
HOUR = 3_600_000
BARS = [Candle((470_000 + number) * HOUR, "100", "104", "98", "101", "35") for number in range(10)]


async def test_ccxt_runs_a_whole_order_life() -> None:
    if not (PEERS / ".installed").exists():
        pytest.fail("ccxt is missing: `make .venv-peers-of-tests/.installed` installs it")
    async with serve(Market({"BTCUSDT": BARS})) as sandbox:
        account = await sandbox.open_account(balance="10000")
        await sandbox.step()
        peer = await asyncio.create_subprocess_exec(
            PEERS / "bin/python",
            ROOT / "tests/peers/ccxt_peer.py",
            sandbox.url,
            account.api_key,
            account.api_secret,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(patient(60)):
            output, _ = await peer.communicate()
        assert json.loads(output) == {
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
