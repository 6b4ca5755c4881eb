"""A forged event claims another user's public id, which would log its user in as the other."""

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
from tests.integration.chassis.conftest import user_registered

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


async def publish(running: RunningService, event: UserRegistered) -> None:
    async with running.database.tenant(event.user_id) as connection:
        await emit(connection, event)


async def test_a_public_id_is_claimed_once(running: RunningService) -> None:
    public_id = new_id()
    for _ in range(2):
        async with running.database.tenants([VICTIM]) as connection:
            await claim_users(connection, [user_registered(VICTIM, public_id=public_id)])
    with pytest.raises(PoisonError):
        async with running.database.tenants([FORGER]) as connection:
            await claim_users(connection, [user_registered(FORGER), user_registered(FORGER, public_id=public_id)])
    assert await locate(running, public_id) == VICTIM


async def test_an_event_with_the_public_id_of_another_user_is_parked_as_a_whole(running: RunningService) -> None:
    """None of its effects is kept, and later events under other keys are handled."""
    public_id, other = new_id(), new_id()
    await publish(running, user_registered(VICTIM, public_id=public_id))
    await eventually(lambda: locate(running, public_id), lambda found: found == VICTIM)
    await publish(running, user_registered(FORGER, public_id=public_id))
    await publish(running, user_registered(3, public_id=other))
    await eventually(lambda: locate(running, other), lambda found: found == 3)

    async def parked() -> list[int]:
        async with running.database.queue() as connection:
            return [row["user_id"] for row in await connection.fetch("SELECT user_id FROM parked")]

    assert await eventually(parked, lambda found: found != []) == [FORGER]
    assert await locate(running, public_id) == VICTIM
    async with running.database.tenants([VICTIM, FORGER, 3]) as connection:
        zones = await connection.fetch("SELECT user_id FROM user_zones ORDER BY user_id")
    assert [row["user_id"] for row in zones] == [VICTIM, 3]
