"""A sandbox on a free port, at the first bar's open, with one account."""

from collections.abc import AsyncIterator

import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Market
from tests.unit.sandbox.market import hourly_bars


@pytest.fixture
async def sandbox() -> AsyncIterator[SandboxClient]:
    async with serve(Market({"BTCUSDT": hourly_bars()})) as client:
        await client.step()
        yield client


@pytest.fixture
async def account(sandbox: SandboxClient) -> SandboxAccount:
    return await sandbox.open_account(balance="10000")
