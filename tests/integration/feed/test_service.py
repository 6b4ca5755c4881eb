"""The feed as a role of the service: it hears what a service says by its outbox; one takes over from another."""

from contextlib import AsyncExitStack
from uuid import UUID

import pytest

from services.trading.app import build
from shared.chassis.service import RunningService
from shared.contracts.types import new_id
from shared.market.demand import publish_changes
from tests.integration.accounts import eventually
from tests.integration.feed.conftest import FeedScene, Said, chain, minute_of
from tests.integration.feed.exchange import candles

HOLED = {"BTCUSDT": candles([*range(20), *range(25, 40)])}  # the market has a hole


async def heard(scene: FeedScene, closed: int) -> list[Said]:
    """All that the broker has, each event once, when so many bars have closed."""

    async def look() -> list[Said]:
        by_id: dict[UUID | None, Said] = {}
        for each in await scene.on_topics():
            assert each.event is not None
            by_id.setdefault(each.event_id, minute_of(each.event))  # type: ignore[arg-type]
        return list(by_id.values())

    return await eventually(look, lambda seen: sum(kind == "closed" for kind, *_ in seen) >= closed, 60)


async def wish(running: RunningService) -> None:
    """As a session of a tenant does that starts."""
    async with running.database.tenant(1) as connection:
        await connection.execute(
            "INSERT INTO market_interests (user_id, object_id, symbol, interval) VALUES (1, $1, 'BTCUSDT', '1')",
            new_id(),
        )
    assert await publish_changes(running.database, "trading") == 1
    assert await publish_changes(running.database, "trading") == 0


@pytest.mark.parametrize("scene", [HOLED], indirect=True)
async def test_what_a_session_wants_is_said_over_a_hole_in_the_market(scene: FeedScene) -> None:
    async with RunningService(build, scene.settings, {"feed", "relay"}) as running:
        await wish(running)
        await scene.subscribed("BTCUSDT")
        await scene.exchange.step(28)
        told = await heard(scene, 25)
    bars = [*range(20), *range(25, 30)]
    assert sorted(told, key=lambda each: (each[1], each[0] == "closed"))[:50] == chain(*bars)


async def test_of_two_services_one_says_it_and_the_other_takes_over(scene: FeedScene) -> None:
    async with AsyncExitStack() as first:
        running = await first.enter_async_context(RunningService(build, scene.settings, {"feed", "relay"}))
        await wish(running)
        await scene.subscribed("BTCUSDT")
        async with RunningService(build, scene.settings, {"feed"}):
            await scene.exchange.step(6)
            assert {each[1] for each in await heard(scene, 5) if each[0] == "closed"} == set(range(5))
            assert len(await scene.on_topics()) == 11  # nothing twice
            await first.aclose()
            await scene.exchange.step(3)
            told = await heard(scene, 8)
    assert [each for each in told if each[0] == "closed"] == chain(*range(8))[1::2]
