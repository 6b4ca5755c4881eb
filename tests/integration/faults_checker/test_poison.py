"""The outboxes accept the messages that no consumer can handle, on every topic that a fault run draws."""

import asyncio
from typing import get_args

from faults.kinds import Poison
from faults.provoke import publish_poison
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Event

TOPICS = [event.topic for event in EVENTS if issubclass(event, Event)]


async def test_every_topic_can_be_poisoned_in_every_way(superuser_dsn: str) -> None:
    async with asyncio.timeout(30):
        for number, topic in enumerate(TOPICS):
            await publish_poison(superuser_dsn, topic, get_args(Poison)[number % len(get_args(Poison))])
