"""Access to the services' databases with their queue roles."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import asyncpg
from aiokafka.errors import KafkaError

from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.producer import Producer
from shared.chassis.postgres import INFRASTRUCTURE_FAULTS, Connection, Database
from shared.chassis.settings import ServiceSettings
from stack.failure import BadInput

T = TypeVar("T")


class Queues:
    """`async with queues.of("billing") as connection:` is one transaction."""

    def __init__(self, databases: Mapping[str, Database]) -> None:
        self._databases = databases

    @property
    def services(self) -> list[str]:
        return list(self._databases)

    @asynccontextmanager
    async def of(self, service: str) -> AsyncIterator[Connection]:
        """Open a transaction. Raises BadInput if the database fails."""
        try:
            async with self._databases[service].queue() as connection:
                yield connection
        except (*INFRASTRUCTURE_FAULTS, asyncpg.PostgresError) as error:
            raise BadInput(f"the database of {service} failed: {error!r}") from error


@asynccontextmanager
async def open_queues(dsns: Mapping[str, str]) -> AsyncIterator[Queues]:
    async with AsyncExitStack() as stack:
        databases = {}
        for service, dsn in dsns.items():
            databases[service] = await Database.connect(_settings(service, dsn))
            stack.push_async_callback(databases[service].close)
        yield Queues(databases)


def _settings(service: str, dsn: str) -> ServiceSettings:
    # Only the queue pool is used; the others are never opened.
    dsns = {f"postgres_{role}_dsn": dsn for role in ("app", "worker", "queue")}
    return ServiceSettings.model_validate({"service": service, **dsns, "kafka_bootstrap": ""})


async def fetch_cluster_id(kafka: KafkaAccess | str) -> str:
    """Return the id of the Kafka cluster. Raises BadInput."""
    producer = Producer(kafka)
    try:
        return await producer.connect()
    except (KafkaError, OSError) as error:
        raise BadInput(f"Kafka at {kafka} does not answer: {error!r}") from error
    finally:
        await producer.stop()
