"""An event says that somebody's public id is another's: he would be let in as him."""

from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest

from services.analytics.app import build
from services.analytics.settings import AnalyticsSettings
from shared.chassis.errors import PoisonError
from shared.chassis.events.outbox import emit
from shared.chassis.identity import claim_users
from shared.chassis.service import RunningService
from shared.contracts.auth import UserRegistered
from shared.contracts.types import new_id
from tests.integration.accounts import eventually
from tests.integration.chassis.conftest import registered

ServiceEnv = Callable[[str], dict[str, str]]
VICTIM, FORGER = 1, 2


@pytest.fixture
async def running(service_env: ServiceEnv, any_source: None) -> AsyncIterator[RunningService]:
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    async with RunningService(build, AnalyticsSettings.model_validate(values)) as service:
        yield service


async def locate(running: RunningService, public_id: UUID) -> int | None:
    async with running.database.untenanted() as connection:
        found: int | None = await connection.fetchval("SELECT locate_user($1)", public_id)
        return found


async def say(running: RunningService, event: UserRegistered) -> None:
    async with running.database.tenant(event.user_id) as connection:
        await emit(connection, event)


async def test_a_public_id_is_claimed_once(running: RunningService) -> None:
    public_id = new_id()
    for _ in range(2):
        async with running.database.tenants([VICTIM]) as connection:
            await claim_users(connection, [registered(VICTIM, public_id=public_id)])
    with pytest.raises(PoisonError):
        async with running.database.tenants([FORGER]) as connection:
            await claim_users(connection, [registered(FORGER), registered(FORGER, public_id=public_id)])
    assert await locate(running, public_id) == VICTIM


async def test_an_event_that_takes_anothers_public_id_is_set_aside_whole(running: RunningService) -> None:
    """Its other effects too, and those who come after it under other keys go on."""
    public_id, other = new_id(), new_id()
    await say(running, registered(VICTIM, public_id=public_id))
    await eventually(lambda: locate(running, public_id), lambda found: found == VICTIM)
    await say(running, registered(FORGER, public_id=public_id))
    await say(running, registered(3, public_id=other))
    await eventually(lambda: locate(running, other), lambda found: found == 3)

    async def parked() -> list[int]:
        async with running.database.queue() as connection:
            return [row["user_id"] for row in await connection.fetch("SELECT user_id FROM parked")]

    assert await eventually(parked, lambda found: found != []) == [FORGER]
    assert await locate(running, public_id) == VICTIM
    async with running.database.tenants([VICTIM, FORGER, 3]) as connection:
        zones = await connection.fetch("SELECT user_id FROM user_zones ORDER BY user_id")
    assert [row["user_id"] for row in zones] == [VICTIM, 3]
