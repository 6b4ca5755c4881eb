"""An idle worker rests: it claims rarely, until a session is started in its process or a lease changes."""

import asyncio

from services.trading.worker.worker import IDLE_AFTER_S
from tests.integration.trading.conftest import Trading
from tests.unit.trading.scenes import wavy_bars

NEVER_S = 3_600.0
CLAIMED = "SELECT 1 FROM session_leases WHERE session_id = $1 AND worker IS NOT NULL"
RUNS = "SELECT 1 FROM workers"


async def test_an_idle_worker_claims_at_once_when_it_is_woken(trading: Trading) -> None:
    ann, strategy = await trading.subscribe(1), await trading.strategy(1)
    async with trading.worker(idle_claim_every_s=NEVER_S) as worker:
        await trading.until(RUNS)
        await asyncio.sleep(2 * IDLE_AFTER_S)
        session = await trading.start(ann, strategy)
        await asyncio.sleep(IDLE_AFTER_S)
        assert await trading.fetch(CLAIMED, session.session_id) == []
        worker.wake()
        await trading.until(CLAIMED, session.session_id)


async def test_an_idle_worker_steps_candles_as_they_come(trading: Trading) -> None:
    bars = wavy_bars(40)
    await trading.start(await trading.subscribe(1), await trading.strategy(1))
    async with trading.worker(idle_claim_every_s=NEVER_S):
        market = await trading.market(bars)
        await trading.until_stepped(await market.close_bars(10))
        await asyncio.sleep(2 * IDLE_AFTER_S)
        await trading.until_stepped(await market.close_bars(10))
