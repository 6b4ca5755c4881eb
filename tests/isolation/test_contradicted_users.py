"""The first known pair of a user and a public id counts, in every service and for every event that names another
one."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import pytest

from cli.dead_letters.rows import OPEN, Filter, list_entries
from shared.chassis.events.decoding import Received
from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.inbox import Inbox
from shared.chassis.identity import claim_users
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from stack.topic_clients import EVENT_HANDLERS
from tests.contracts.samples import SAMPLES
from tests.integration.chassis.conftest import public_id_of, user_registered
from tests.integration.chassis.test_one_message import received

ServiceEnv = Callable[[str], dict[str, str]]
VICTIM, OTHER = 1, 2


def user_handlers(service: str) -> Sequence[EventHandler[Any]]:  # Any: each has its own event type
    return [each for each in EVENT_HANDLERS[service] if each.event.topic in NAMES_A_USER]


NAMES_A_USER = ("user.registered", "user.updated", "subscription.changed", "activity.recorded")
CASES = [(service, each) for service in EVENT_HANDLERS for each in user_handlers(service)]


def test_every_service_learns_users_from_some_event() -> None:
    assert {service for service, _ in CASES} == {"auth", "billing", "trading", "analytics", "notifications"}


@pytest.mark.parametrize(("service", "subscription"), CASES, ids=lambda case: getattr(case, "event", case))
async def test_a_contradiction_is_parked_and_the_valid_event_is_handled(
    service_env: ServiceEnv,
    service: str,
    subscription: EventHandler[Any],  # Any: its own event type
) -> None:
    values = {name.lower(): value for name, value in service_env(service).items()}
    database = await Database.connect(ServiceSettings.model_validate({**values, "service": service}))
    async with database.tenants([VICTIM, OTHER]) as connection:
        await claim_users(connection, [user_registered(VICTIM), user_registered(OTHER)])
    handled: list[object] = []

    async def handle(_: object, events: Sequence[object]) -> None:
        handled.extend(events)

    inbox = Inbox(database, service, subscription.event, handle)
    sample = SAMPLES[subscription.event.topic]

    def event(user_id: int, public_id: UUID) -> Received:
        return received(sample.model_copy(update={"user_id": user_id, "public_id": public_id}))

    stolen, invented = event(OTHER, public_id_of(VICTIM)), event(VICTIM, UUID(int=9))
    await inbox.process([stolen, invented, event(VICTIM, public_id_of(VICTIM))])
    async with database.queue() as connection:
        entries, _ = await list_entries(connection, Filter(states=OPEN), 10)
        letters = await connection.fetchval("SELECT count(*) FROM outbox WHERE topic LIKE '%.dlq'")
    await database.close()
    assert [(each.user_id, each.state, each.reason[:9]) for each in entries] == [
        (VICTIM, "DEAD", "public_id"),
        (OTHER, "DEAD", "public_id"),
    ]
    assert (letters, len(handled)) == (2, 1)
