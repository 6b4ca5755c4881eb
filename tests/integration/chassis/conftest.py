"""The chassis under a service that only records the events it receives."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from uuid import NAMESPACE_OID, UUID, uuid5

import pytest

from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.outbox import emit
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Connection, Database
from shared.chassis.service_types import Context, Service
from shared.chassis.settings import ServiceSettings
from shared.contracts.auth import UserRegistered

ServiceEnv = Callable[[str], dict[str, str]]


@pytest.fixture
def settings(service_env: ServiceEnv, any_source: None) -> ServiceSettings:
    """Settings with the schema and roles of analytics, which stand in for any service's."""
    values = {name.lower(): value for name, value in service_env("analytics").items()}
    return ServiceSettings.model_validate({**values, "service": "analytics"})


@pytest.fixture
async def database(settings: ServiceSettings) -> AsyncIterator[Database]:
    opened = await Database.connect(settings)
    try:
        yield opened
    finally:
        await opened.close()


@dataclass
class Listener:
    """Records received events. Its effects are rows (the locator), so that a failed transaction has none."""

    received: list[UserRegistered] = field(default_factory=list)
    failing: set[int] = field(default_factory=set)

    async def on_user_registered(self, connection: Connection, events: Sequence[UserRegistered]) -> None:
        await claim_users(connection, events)
        if any(event.user_id in self.failing for event in events):
            raise ValueError("this tenant fails")
        self.received += events

    def build(self, _: Context) -> Service:
        return Service("analytics", handlers=[EventHandler(UserRegistered, self.on_user_registered)])

    def seqs(self, user_id: int) -> list[int]:
        return [event.aggregate_seq for event in self.received if event.user_id == user_id]


@pytest.fixture
def listener() -> Listener:
    return Listener()


def public_id_of(user_id: int) -> UUID:
    """Return the public id of a user, the same in every event."""
    return uuid5(NAMESPACE_OID, str(user_id))


def user_registered(user_id: int, seq: int = 1, public_id: UUID | None = None) -> UserRegistered:
    return UserRegistered(
        user_id=user_id,
        public_id=public_id or public_id_of(user_id),
        aggregate=f"user:{user_id}",
        aggregate_seq=seq,
        email="somebody@example.org",
        timezone="UTC",
        language="en",
        is_active=True,
    )


async def publish(database: Database, *events: UserRegistered) -> None:
    for event in events:
        async with database.tenant(event.user_id) as connection:
            await emit(connection, event)
