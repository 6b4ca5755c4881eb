"""Every handler of a state that is carried whole refuses a version far ahead of the one it stores: applying that
would freeze the state."""

from collections.abc import Callable
from typing import Any

import pytest

from shared.chassis.events.handlers import EventHandler
from shared.chassis.events.inbox import Inbox
from shared.chassis.postgres import Database
from shared.chassis.settings import ServiceSettings
from stack.topic_clients import EVENT_HANDLERS
from tests.contracts.samples import SAMPLES
from tests.integration.chassis.test_one_message import list_parked, received

# The events that carry a whole state, and the field with its version.
STATES = {
    "subscription.changed": "subscription_version",
    "user.registered": "aggregate_seq",
    "user.updated": "aggregate_seq",
}
STORES_NO_STATE = [("billing", "user.registered")]  # begins a subscription
CASES = [
    (service, each)
    for service, handlers in EVENT_HANDLERS.items()
    for each in handlers
    if each.event.topic in STATES and (service, each.event.topic) not in STORES_NO_STATE
]
FAR_AHEAD = 2**63 - 1


def test_four_services_store_the_plan() -> None:
    stored = [service for service, each in CASES if each.event.topic == "subscription.changed"]
    assert sorted(stored) == ["analytics", "auth", "notifications", "trading"]


@pytest.mark.parametrize(("service", "handler"), CASES, ids=lambda case: getattr(case, "event", case))
async def test_a_version_far_ahead_is_parked_and_the_next_one_is_applied(
    service_env: Callable[[str], dict[str, str]],
    service: str,
    handler: EventHandler[Any],  # Any: its own event type
) -> None:
    values = {name.lower(): value for name, value in service_env(service).items()}
    database = await Database.connect(ServiceSettings.model_validate({**values, "service": service}))
    sample = SAMPLES[handler.event.topic]
    if service == "auth":
        await insert_user(database, sample)
    inbox = Inbox(database, service, handler.event, handler.handle, handler.versioned)
    # 1,900 is plausible only for a handler that finds 1,000 where its state is stored.
    for version in (1_000, 1_900, FAR_AHEAD, 1_901):
        await inbox.process([received(sample.model_copy(update={STATES[sample.topic]: version}))])
    parked = await list_parked(database)
    await database.close()
    reason = f"version {FAR_AHEAD} is not plausible: the highest plausible one is 2900"
    assert parked == [(sample.key(), "DEAD", reason)]


async def insert_user(database: Database, sample: Any) -> None:  # Any: of any event about a user
    async with database.tenant(sample.user_id) as connection:
        await connection.execute(
            """
            INSERT INTO users (user_id, public_id, email, password_hash, timezone, language)
            VALUES ($1, $2, 'somebody@example.org', '', 'UTC', 'en')
            """,
            sample.user_id,
            sample.public_id,
        )
