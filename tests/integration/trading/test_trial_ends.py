"""A trial ends in billing, and trading consumes the event: entries beyond FREE stop, open positions continue."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from uuid import UUID

import asyncpg
import pytest

from services.billing.app import build as build_billing
from services.trading.app import build as build_trading
from shared.chassis.auth import Principal
from shared.chassis.clock import utc_now
from shared.chassis.service import RunningService
from tests.integration.accounts import billing_settings, eventually
from tests.integration.billing.conftest import begin
from tests.integration.trading.conftest import ServiceEnv, Trading
from tests.integration.trading.market import Market
from tests.unit.trading.scenes import wavy_bars


@pytest.fixture
async def billing(service_env: ServiceEnv) -> AsyncIterator[RunningService]:
    async with RunningService(build_billing, billing_settings(service_env("billing"))) as running:
        yield running


async def _end_trial(trading: Trading) -> None:
    """Make the trial due now, as if it had begun two weeks ago; billing's job ends it."""
    owner = await asyncpg.connect(trading.owner_dsn)
    await owner.execute(
        """
        UPDATE billing.user_subscriptions SET trial_end_date = now(), current_period_end = now();
        UPDATE billing.subscription_deadlines SET due_at = now()
        """
    )
    await owner.close()


async def _until_plan(trading: Trading, plan: str) -> None:
    query = "SELECT plan FROM entitlements"
    await eventually(lambda: trading.fetch(query), lambda rows: [row["plan"] for row in rows] == [plan], 40)


async def _until_it_holds_a_position(trading: Trading, market: Market, session_id: UUID) -> None:
    held = "SELECT 1 FROM user_trades WHERE session_id = $1 AND status = 'OPEN'"
    while not await trading.fetch(held, session_id):
        await trading.until_stepped(await market.close_bars())


async def _entries(trading: Trading, session_id: UUID) -> int:
    return len(await trading.fetch("SELECT 1 FROM user_trades WHERE session_id = $1", session_id))


async def test_after_a_trial_entries_stop_and_the_position_is_managed_to_its_end(
    trading: Trading, billing: RunningService
) -> None:
    public_id = await begin(billing.database, 1, now=utc_now())
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            RunningService(build_trading, trading.settings, {"consumers", "worker", "relay"})
        )
        await _until_plan(trading, "PREMIUM")
        ann = Principal(1, public_id, frozenset(), None)
        first = await trading.start(ann, await trading.strategy(1))
        second = await trading.start(ann, await trading.strategy(1, strategy_name="another"))
        market = await trading.market(wavy_bars(160))
        await _until_it_holds_a_position(trading, market, second.session_id)
        entries = [await _entries(trading, each.session_id) for each in (first, second)]
        await _end_trial(trading)
        await _until_plan(trading, "FREE")
        await trading.until_stepped(await market.close_bars(80))
    after = [await _entries(trading, each.session_id) for each in (first, second)]
    assert after[0] > entries[0]
    assert after[1] == entries[1]
    open_now = "SELECT 1 FROM user_trades WHERE session_id = $1 AND status = 'OPEN'"
    assert await trading.fetch(open_now, second.session_id) == []
    refused = await trading.fetch("SELECT DISTINCT session_id FROM decisions WHERE refusal = 'plan_limit'")
    assert [row["session_id"] for row in refused] == [second.session_id]
