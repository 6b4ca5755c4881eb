"""Starts Postgres and Kafka for the benchmarks, with the platform's schema and topics."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from shared.chassis.service import tune_garbage_collector
from shared.chassis.settings import ServiceSettings
from stack.migrate import SERVICES, DatabaseAccess, all_roles, create_database, migrate
from stack.service_keys import key_file_of, list_file_of, make_service_keys
from stack.topics import create_topics, topics_of
from tests.backend import DURABLE, PASSWORD, RUN_FOLDER, begin_run, end_run, servers_of_run


@dataclass(frozen=True)
class BenchmarkServers:
    """Addresses of the benchmarks' database and broker."""

    access: DatabaseAccess
    superuser_dsn: str  # of the benchmarks' database
    bootstrap: str
    prefix: str

    async def create_empty(self) -> "BenchmarkServers":
        """Create an empty database and topics on the same servers."""
        return await _prepare(self.superuser_dsn, self.bootstrap)

    def settings(self, service: str) -> ServiceSettings:
        return ServiceSettings.model_validate({"service": service, **self.environment(service)})

    def environment(self, service: str) -> dict[str, str]:
        """Return a service's settings, by lower-case name."""
        dsns = {f"postgres_{role}_dsn": self.access.dsn(f"{service}_{role}") for role in ("app", "worker", "queue")}
        keys = {
            "service_key_file": str(key_file_of(self.service_keys, service)),
            "service_keys_file": str(list_file_of(self.service_keys)),
        }
        return {**dsns, **keys, "kafka_bootstrap": self.bootstrap, "kafka_topic_prefix": self.prefix}

    @property
    def service_keys(self) -> Path:
        """The folder of the keys for calls between services; created if missing."""
        folder = Path(os.environ[RUN_FOLDER]) / "service-keys"
        make_service_keys(folder, SERVICES)
        return folder


@asynccontextmanager
async def start_servers() -> AsyncIterator[BenchmarkServers]:
    """Start the servers with the settings of `tradefleet up`, and stop them at the end."""
    os.environ[DURABLE] = "1"
    folder = begin_run()
    try:
        servers = servers_of_run()
        tune_garbage_collector()
        yield await _prepare(servers.postgres_dsn, servers.kafka_bootstrap)
    finally:
        end_run(folder)


async def _prepare(postgres_dsn: str, bootstrap: str) -> BenchmarkServers:
    address = postgres_dsn.rpartition("@")[2].partition("/")[0]
    host, _, port = address.partition(":")
    # An external server is shared with the tests, and roles belong to the whole server, so the password is theirs.
    passwords = dict.fromkeys(all_roles(), PASSWORD)
    access = DatabaseAccess(host, int(port), f"bench_{uuid4().hex[:8]}", passwords)
    await create_database(postgres_dsn, access)
    await migrate(access)
    prefix = f"bench{uuid4().hex[:8]}."
    await create_topics(bootstrap, topics_of(prefix=prefix))
    return BenchmarkServers(access, postgres_dsn.rpartition("/")[0] + f"/{access.name}", bootstrap, prefix)
