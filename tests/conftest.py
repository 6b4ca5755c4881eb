"""Fixtures for every test: real servers once a run, a database and topics of its own for each test that asks."""

import asyncio
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import pytest

from cli.errors import list_problems
from shared.chassis.telemetry import HTTP_PROBLEMS
from stack.migrate import ROOT, SERVICES, DatabaseAccess, all_roles, create_database, migrate
from stack.service_keys import key_file_of, list_file_of, make_service_keys
from stack.topics import create_topics, delete_topics, topics_of
from tests.backend import PASSWORD, RUN_FOLDER, Servers, admin_execute, begin_run, end_run, servers_of_run
from tests.pace import patient
from tests.scheduling import Scheduling, turn

SHARED = ROOT.parent / "shared"
TEST_PARTITIONS = 2
pytest_plugins = ["tests.reference.table", "tests.hostile.table"]

ServiceEnv = Callable[[str], dict[str, str]]

# Five hours from UTC, with summer time: whoever reads a time as local is seen in every run.
os.environ["TZ"] = "America/New_York"
time.tzset()


def pytest_configure(config: pytest.Config) -> None:
    """The controller of a run owns its folder; workers of xdist inherit it."""
    for name in [name for name in os.environ if name.startswith(("POSTGRES_", "KAFKA_", "TRADEFLEET_HOME"))]:
        if name not in ("KAFKA_HOME", "KAFKA_BOOTSTRAP"):
            del os.environ[name]
    if not hasattr(config, "workerinput"):
        config.stash[_FOLDER] = folder = begin_run()
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))  # what tests write is removed with it


_FOLDER = pytest.StashKey[Path]()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_FOLDER, None)) is not None:
        end_run(folder)
        os.environ.pop(RUN_FOLDER, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the order that scheduling wants; what needs the folder beside the checkout is not collected where it is
    absent, and the header says so."""
    items.sort(key=lambda item: turn(item.nodeid))
    for item in items:
        given = item.get_closest_marker("timeout")
        seconds = float(given.args[0] if given else config.getini("timeout"))
        item.add_marker(pytest.mark.timeout(patient(seconds)), append=False)
    if SHARED.exists():
        return
    absent = [item for item in items if item.get_closest_marker("beside_checkout")]
    config.hook.pytest_deselected(items=absent)
    items[:] = [item for item in items if item not in absent]


@pytest.fixture(scope="session", autouse=True)
def every_problem_that_is_answered_is_listed() -> Iterator[None]:
    """Whatever the tests make the services of this process answer stands in docs/errors.md."""
    yield
    listed = {problem.type for problem in list_problems()}
    answered = {sample.labels["type"] for metric in HTTP_PROBLEMS.collect() for sample in metric.samples}
    assert answered <= listed, f"not in docs/errors.md: {answered - listed}"


@pytest.fixture(scope="session")
def servers() -> Servers:
    return servers_of_run()


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> str:
    """A superuser's DSN."""
    return servers.postgres_dsn


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers) -> str:
    return servers.kafka_bootstrap


@pytest.fixture(scope="session")
def template(postgres: str) -> DatabaseAccess:
    """A migrated database to copy, named after what the migrations say; made once per server."""
    access = database_of(postgres, f"template_{_migrations_digest()}")
    asyncio.run(_make_template(postgres, access))
    return access


async def _make_template(postgres: str, access: DatabaseAccess) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        await connection.execute("SELECT pg_advisory_lock(4711)")
        done = await connection.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", access.name)
        if done:
            return
        building = DatabaseAccess(access.host, access.port, f"{access.name}_new", access.passwords)
        await connection.execute(f"DROP DATABASE IF EXISTS {building.name} WITH (FORCE)")
        await create_database(postgres, building)
        await migrate(building)
        await connection.execute(f"ALTER DATABASE {building.name} RENAME TO {access.name}")
    finally:
        await connection.close()


def _migrations_digest() -> str:
    digest = hashlib.sha256()
    folders = [
        ROOT / "shared/chassis/migrations",
        *(ROOT / f"services/{name}/migrations" for name in SERVICES),
    ]
    for file in [
        ROOT / "deploy/postgres/roles.sql",
        *(f for folder in folders for f in sorted(folder.glob("*.sql"))),
    ]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def database_of(dsn: str, name: str) -> DatabaseAccess:
    parts = urlsplit(dsn)
    return DatabaseAccess(
        parts.hostname or "127.0.0.1", parts.port or 5432, name, dict.fromkeys(all_roles(), PASSWORD)
    )


@pytest.fixture
def database_access(postgres: str, template: DatabaseAccess) -> Iterator[DatabaseAccess]:
    """A database of this test's own, migrated, dropped afterwards."""
    access = database_of(postgres, f"test_{uuid4().hex[:12]}")
    asyncio.run(copy_template(postgres, template.name, access.name))
    yield access
    asyncio.run(admin_execute(postgres, f"DROP DATABASE {access.name} WITH (FORCE)"))


async def copy_template(postgres: str, template: str, name: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        # Two copies at once of one template refuse each other.
        await connection.execute("SELECT pg_advisory_lock(4712)")
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} OWNER tradefleet_owner")
        # A database's own grants are not copied: as in roles.sql.
        await connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    finally:
        await connection.close()


# For tests in which one service's outbox stands for those of all: it sends whatever it holds.
ANY_SOURCE = "; ".join(
    f"ALTER TABLE IF EXISTS {service}.outbox DROP CONSTRAINT outbox_of_this_service" for service in SERVICES
)


@pytest.fixture
def any_source(database_access: DatabaseAccess) -> None:
    """Outboxes of this test's database take the events of other services too."""
    asyncio.run(admin_execute(database_access.owner_dsn, ANY_SOURCE))


@pytest.fixture
def topic_prefix(kafka_bootstrap: str) -> Iterator[str]:
    """Topics of this test's own."""
    prefix = f"t{uuid4().hex[:10]}."
    topics = topics_of(prefix=prefix, max_partitions=TEST_PARTITIONS)
    asyncio.run(create_topics(kafka_bootstrap, topics))
    yield prefix
    asyncio.run(delete_topics(kafka_bootstrap, [topic.name for topic in topics]))


@pytest.fixture(scope="session")
def service_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The keys with which services call one another."""
    folder = tmp_path_factory.mktemp("service-keys")
    make_service_keys(folder, SERVICES)
    return folder


@pytest.fixture
def service_env(
    database_access: DatabaseAccess, kafka_bootstrap: str, topic_prefix: str, service_keys: Path
) -> ServiceEnv:
    """The environment of a service on this test's database and topics; several services share them."""

    def environment(service: str) -> dict[str, str]:
        dsns = {
            f"POSTGRES_{role.upper()}_DSN": database_access.dsn(f"{service}_{role}")
            for role in ("app", "worker", "queue")
        }
        return {
            **dsns,
            "KAFKA_BOOTSTRAP": kafka_bootstrap,
            "KAFKA_TOPIC_PREFIX": topic_prefix,
            "SERVICE_KEY_FILE": str(key_file_of(service_keys, service)),
            "SERVICE_KEYS_FILE": str(list_file_of(service_keys)),
        }

    return environment


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Cases and candles beside the checkout; tests that need them are not collected without it."""
    return SHARED


def pytest_report_header() -> str:
    if SHARED.exists():
        return f"cases beside the checkout: {SHARED}"
    return f"NO CASES BESIDE THE CHECKOUT: {SHARED} is absent, tests that need it are not collected"
