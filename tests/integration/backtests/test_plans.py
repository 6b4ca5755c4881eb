"""Hot queries find their rows by an index."""

from typing import cast
from uuid import UUID

import pytest

from services.trading.queries import backtest_queue, backtest_results, backtests
from services.trading.queries.backtest_queue import BacktestJob
from shared.chassis.listing import Slice
from shared.chassis.postgres import Connection
from tests.integration.trading.conftest import Trading, exchange, trading
from tests.plans import Recorder, explain_without_scans

__all__ = ["exchange", "trading"]  # fixtures
ID = UUID(int=1)


async def plan_of(trading: Trading, recorder: Recorder, *, queue: bool = False) -> str:
    database = trading.database
    async with database.queue() if queue else database.tenant(1) as connection:
        return await explain_without_scans(connection, recorder)


@pytest.mark.parametrize("newest_first", [True, False])
async def test_the_list_is_read_by_an_index_in_its_order(trading: Trading, newest_first: bool) -> None:
    recorder = Recorder()
    await backtests.list_backtests(
        cast(Connection, recorder),
        1,
        status=None,
        strategy_id=None,
        symbol=None,
        wanted=Slice(backtests.ORDERS["created_at"], 50, descending=newest_first),
    )
    plan = await plan_of(trading, recorder)
    assert "backtests_of_user" in plan
    assert "Seq Scan" not in plan


async def test_rows_of_a_result_are_found_by_its_key(trading: Trading) -> None:
    fills = Slice(backtest_results.FILL_ORDERS["fill_number"], 50, (0,))
    trades = Slice(backtest_results.TRADE_ORDERS["trade_number"], 50, descending=True)
    for query, wanted in ((backtest_results.list_fills, fills), (backtest_results.list_trades, trades)):
        recorder = Recorder()
        await query(cast(Connection, recorder), 1, ID, wanted)
        plan = await plan_of(trading, recorder)
        assert "Index Cond" in plan
        assert "Seq Scan" not in plan


async def test_the_queue_is_claimed_by_tenant_and_renewed_by_worker(trading: Trading) -> None:
    recorder = Recorder()
    await backtest_queue.find_next_tenant(cast(Connection, recorder))
    assert "backtest_jobs_free" in await plan_of(trading, recorder, queue=True)
    await backtest_queue.claim_first(cast(Connection, recorder), 1, "me")
    assert "backtest_jobs_free" in await plan_of(trading, recorder, queue=True)
    await backtest_queue.renew(cast(Connection, recorder), "me", [(BacktestJob(1, ID, 1, 0, None), 0)])
    plan = await plan_of(trading, recorder, queue=True)
    assert "backtest_jobs_pkey" in plan or "backtest_jobs_held" in plan
