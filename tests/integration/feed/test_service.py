"""The feed as a component of the service: it consumes demand from the outbox, and a standby takes over."""

from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from services.trading.app import build
from shared.chassis.service import RunningService
from shared.contracts.types import new_id
from shared.market.demand import publish_changes
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import BarEvent, FeedScene, chain, minute_of
from tests.integration.feed.exchange import candles

HOLED = {"BTCUSDT": candles([*range(20), *range(25, 40)])}  # the market has a gap


async def until_closed(scene: FeedScene, closed: int) -> list[BarEvent]:
    """Wait until `closed` bars have closed, and return all events on the broker, each once."""

    async def look() -> list[BarEvent]:
        by_id: dict[UUID | None, BarEvent] = {}
        for each in await scene.read_topics():
            assert each.event is not None
            by_id.setdefault(each.event_id, minute_of(each.event))  # type: ignore[arg-type]
        return list(by_id.values())

    return await eventually(look, lambda seen: sum(kind == "closed" for kind, *_ in seen) >= closed, 60)


async def publish_demand(running: RunningService) -> None:
    """Demand a series, as a session does when it starts."""
    async with running.database.tenant(1) as connection:
        await connection.execute(
            "INSERT INTO market_interests (user_id, object_id, symbol, interval) VALUES (1, $1, 'BTCUSDT', '1')",
            new_id(),
        )
    assert await publish_changes(running.database, "trading") == 1
    assert await publish_changes(running.database, "trading") == 0


@pytest.mark.parametrize("scene", [HOLED], indirect=True)
async def test_a_demanded_series_is_published_across_a_gap_in_the_market(scene: FeedScene) -> None:
    async with RunningService(build, scene.settings, {"feed", "relay"}) as running:
        await publish_demand(running)
        await scene.until_subscribed("BTCUSDT")
        await scene.exchange.step(28)
        events = await until_closed(scene, 25)
    bars = [*range(20), *range(25, 30)]
    assert sorted(events, key=lambda each: (each[1], each[0] == "closed"))[:50] == chain(*bars)


async def test_one_of_two_services_publishes_and_the_other_takes_over(scene: FeedScene) -> None:
    async with AsyncExitStack() as first:
        running = await first.enter_async_context(RunningService(build, scene.settings, {"feed", "relay"}))
        await publish_demand(running)
        await scene.until_subscribed("BTCUSDT")
        async with RunningService(build, scene.settings, {"feed"}):
            await scene.exchange.step(6)
            assert {each[1] for each in await until_closed(scene, 5) if each[0] == "closed"} == set(range(5))
            assert len(await scene.read_topics()) == 11  # nothing twice
            await first.aclose()
            await scene.exchange.step(3)
            events = await until_closed(scene, 8)
    assert [each for each in events if each[0] == "closed"] == chain(*range(8))[1::2]
