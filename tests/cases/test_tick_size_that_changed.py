"""A session started after the exchange changed the tick size uses the exchange's tick, not the stored one."""

from collections.abc import AsyncIterator
from decimal import Decimal
from uuid import UUID

import pytest

from services.trading.app import build
from services.trading.consumers import on_subscription_changed
from shared.chassis.service import RunningService
from shared.testing.api_client import open_client
from shared.testing.tokens import serve_tokens
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, scene
from tests.integration.trading.callers import Caller
from tests.integration.trading.conftest import plan_changed
from tests.unit.trading.scenes import CROSS

__all__ = ["scene"]

EVERY_BAR = {
    **CROSS,
    "strategy_config": {"interval": "1", "side": "LONG", "indicators": {}},
    "entry_conditions": {"left": "close", "op": ">", "right": 0},
    "exit_conditions": None,
    "risk_management": {"position_size": {"type": "fixed_quote", "value": "1000"}, "max_bars": 1},
}


@pytest.fixture
async def caller(scene: FeedScene) -> AsyncIterator[Caller]:
    """A tenant of a running trading service with its feed and a worker, on the sandbox."""
    async with serve_tokens() as tokens:
        settings = scene.settings.model_copy(update={"jwks_url": tokens.jwks_url})
        async with RunningService(build, settings, {"http", "relay", "jobs", "worker", "feed"}) as running:
            async with running.database.tenants([1]) as connection:
                await on_subscription_changed(connection, [plan_changed(1, 1, "PRO", None)])
            async with open_client(running.url) as client:
                yield Caller(client.url, client.http, tokens.make_token(UUID(int=1)))


async def start(caller: Caller, name: str) -> str:
    made = await caller.call("POST", "/v1/strategies", {**EVERY_BAR, "strategy_name": name})
    started = await caller.start(made.text("strategy_id"))
    assert started.status == 201, started.body
    return started.text("session_id")


async def prices(scene: FeedScene, caller: Caller, session: str, count: int) -> list[Decimal]:
    """Return the prices of the session's fills once there are `count`; the market moves on meanwhile."""

    async def look() -> list[Decimal]:
        found = await caller.list_all(f"/v1/sessions/{session}/fills?sort=fill_number")
        if len(found) < count:
            await scene.exchange.step()
        return [Decimal(fill["price"]) for fill in found]

    return await eventually(look, lambda seen: len(seen) >= count, 60)


async def test_the_second_session_uses_the_tick_of_the_exchange_and_the_stored_one_is_updated(
    scene: FeedScene,
    caller: Caller,
) -> None:
    await prices(scene, caller, await start(caller, "first"), 2)
    await scene.fetch("UPDATE instruments SET tick_size = 50 WHERE symbol = 'BTCUSDT'")
    session = await start(caller, "second")
    (stored,) = await scene.fetch("SELECT tick_size FROM instruments WHERE symbol = 'BTCUSDT'")
    assert stored["tick_size"] == Decimal("0.25")
    found = await prices(scene, caller, session, 5)
    assert all(price % Decimal("0.25") == 0 for price in found)
    assert any(price % 50 for price in found)
