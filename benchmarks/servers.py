"""Postgres and Kafka of the benchmarks' own, with the platform's schema and topics."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from shared.chassis.service import calm_collector
from shared.chassis.settings import ServiceSettings
from stack.migrate import SERVICES, DatabaseAccess, all_roles, create_database, migrate
from stack.service_keys import key_file_of, list_file_of, make_service_keys
from stack.topics import create_topics, topics_of
from tests.backend import DURABLE, PASSWORD, RUN_FOLDER, begin_run, end_run, servers_of_run


@dataclass(frozen=True)
class Place:
    """Where the benchmarks run."""

    access: DatabaseAccess
    superuser_dsn: str  # in the benchmarks' database
    bootstrap: str
    prefix: str

    async def another(self) -> "Place":
        """On the same servers, with nothing in it."""
        return await _made(self.superuser_dsn, self.bootstrap)

    def settings(self, service: str) -> ServiceSettings:
        return ServiceSettings.model_validate({"service": service, **self.environment(service)})

    def environment(self, service: str) -> dict[str, str]:
        """As a service's settings name it, in lower case."""
        dsns = {f"postgres_{role}_dsn": self.access.dsn(f"{service}_{role}") for role in ("app", "worker", "queue")}
        keys = {
            "service_key_file": str(key_file_of(self.service_keys, service)),
            "service_keys_file": str(list_file_of(self.service_keys)),
        }
        return {**dsns, **keys, "kafka_bootstrap": self.bootstrap, "kafka_topic_prefix": self.prefix}

    @property
    def service_keys(self) -> Path:
        """The keys with which services call one another."""
        folder = Path(os.environ[RUN_FOLDER]) / "service-keys"
        make_service_keys(folder, SERVICES)
        return folder


@asynccontextmanager
async def place() -> AsyncIterator[Place]:
    """Started for the run with the settings of `tradefleet up`, and ended with it."""
    os.environ[DURABLE] = "1"
    folder = begin_run()
    try:
        servers = servers_of_run()
        calm_collector()
        yield await _made(servers.postgres_dsn, servers.kafka_bootstrap)
    finally:
        end_run(folder)


async def _made(postgres_dsn: str, bootstrap: str) -> Place:
    address = postgres_dsn.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    # A server that is given is the tests' too, and roles are of the whole server.
    passwords = dict.fromkeys(all_roles(), PASSWORD)
    access = DatabaseAccess(host, int(port), f"bench_{uuid4().hex[:8]}", passwords)
    await create_database(postgres_dsn, access)
    await migrate(access)
    prefix = f"bench{uuid4().hex[:8]}."
    await create_topics(bootstrap, topics_of(prefix=prefix))
    return Place(access, postgres_dsn.rpartition("/")[0] + f"/{access.name}", bootstrap, prefix)
