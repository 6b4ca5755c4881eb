"""A step without decisions writes only the cursor, in one statement for all sessions of a series."""

import asyncpg

from tests.integration.trading.conftest import Trading
from tests.integration.trading.writes import Write, count_writes, writes
from tests.unit.strategy.scenes import NEVER
from tests.unit.trading.scenes import wavy_bars

SESSIONS = 12


async def test_a_step_without_decisions_is_one_statement_for_all_sessions(trading: Trading) -> None:
    for user_id in range(1, SESSIONS + 1):
        caller = await trading.subscribe(user_id)
        await trading.start(caller, await trading.strategy(user_id, entry_conditions={"long": NEVER}))
    owner = await asyncpg.connect(trading.owner_dsn)
    async with trading.worker():
        market = await trading.market(wavy_bars(40))
        await trading.until_stepped(await market.close_bars(5))  # all have joined
        await count_writes(owner)
        for _ in range(10):
            await trading.until_stepped(await market.close_bars())
        counted = await writes(owner)
    await owner.close()
    assert [each for each in counted if each.changed != 0] == [Write("session_cursors", "UPDATE", SESSIONS)] * 10
    assert len(counted) == 10, "nothing else was written, and no statement was without effect"
