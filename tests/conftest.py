"""Fixtures for every test: real servers once per run, and a database and topics for each test that requests
them."""

import asyncio
import gc
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import hypothesis
import pytest

from services.trading.custody.key_ring import new_ring
from shared.chassis.clock import utc_now
from shared.chassis.telemetry import HTTP_PROBLEMS
from stack.migrate import ROOT, SERVICES, DatabaseAccess, all_roles, create_database, migrate
from stack.private_files import write_private
from stack.reference.problems import list_problems
from stack.service_keys import key_file_of, list_file_of, make_service_keys
from tests.backend import PASSWORD, RUN_FOLDER, Servers, admin_execute, begin_run, end_run, servers_of_run
from tests.closed_sockets import close_sockets
from tests.pace import patient
from tests.scheduling import Scheduling, turn
from tests.topic_sets import TopicSets

# No deadline for an example: how long it takes depends on the machine.
hypothesis.settings.register_profile("suite", deadline=None)
hypothesis.settings.load_profile("suite")

SHARED = ROOT.parent / "shared"
pytest_plugins = ["tests.reference.table", "tests.hostile.table"]

ServiceEnv = Callable[[str], dict[str, str]]

# A time zone five hours from UTC, with daylight saving time: code that reads a time as local fails in every run.
os.environ["TZ"] = "America/New_York"
time.tzset()


def pytest_configure(config: pytest.Config) -> None:
    """Create the run's folder in the controller; xdist workers inherit it."""
    for name in [name for name in os.environ if name.startswith(("POSTGRES_", "KAFKA_", "TRADEFLEET_HOME"))]:
        if name not in ("KAFKA_HOME", "KAFKA_BOOTSTRAP"):
            del os.environ[name]
    os.environ.pop("TRADEFLEET_LIVE", None)
    close_sockets()
    # A password hash of production takes 100 ms of processor time; tests/unit/auth/test_passwords.py makes some.
    os.environ["AUTH_PASSWORD_MEMORY_KIB"] = "1024"
    if not hasattr(config, "workerinput"):
        config.stash[_FOLDER] = folder = begin_run()
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(folder))  # removed with the run's folder


_FOLDER = pytest.StashKey[Path]()


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    return Scheduling(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_unconfigure(config: pytest.Config) -> None:
    if (folder := config.stash.get(_FOLDER, None)) is not None:
        end_run(folder)
        os.environ.pop(RUN_FOLDER, None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort the tests for the scheduler, scale their time-outs, and deselect `beside_checkout` tests if the folder
    beside the checkout is absent. The report header says so."""
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


def pytest_collection_finish() -> None:
    """Exempt modules and tests, which live until the end, from garbage collection, which would take long."""
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def every_returned_problem_is_documented() -> Iterator[None]:
    """Check that every problem the services of this process return is in docs/errors.md."""
    yield
    listed = {problem.type for problem in list_problems()}
    answered = {sample.labels["type"] for metric in HTTP_PROBLEMS.collect() for sample in metric.samples}
    assert answered <= listed, f"not in docs/errors.md: {answered - listed}"


@pytest.fixture(scope="session")
def servers() -> Servers:
    return servers_of_run()


@pytest.fixture(scope="session")
def postgres(servers: Servers) -> str:
    """Return a superuser's DSN."""
    return servers.postgres_dsn


@pytest.fixture(scope="session")
def kafka_bootstrap(servers: Servers) -> str:
    return servers.kafka_bootstrap


@pytest.fixture(scope="session")
def template(postgres: str) -> DatabaseAccess:
    """Return a migrated template database, named after a digest of the migrations; created once per server."""
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
    """Create a migrated database for this test, and drop it afterwards."""
    access = database_of(postgres, f"test_{uuid4().hex[:12]}")
    asyncio.run(copy_template(postgres, template.name, access.name))
    yield access
    asyncio.run(admin_execute(postgres, f"DROP DATABASE {access.name} WITH (FORCE)"))


async def copy_template(postgres: str, template: str, name: str) -> None:
    connection = await asyncpg.connect(postgres)
    try:
        # Postgres refuses two concurrent copies of one template.
        await connection.execute("SELECT pg_advisory_lock(4712)")
        # FILE_COPY takes less than half of the processor time of WAL_LOG.
        await connection.execute(
            f"CREATE DATABASE {name} TEMPLATE {template} OWNER tradefleet_owner STRATEGY FILE_COPY"
        )
        # A copy does not inherit the database's own grants; repeat the REVOKE of roles.sql.
        await connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
    finally:
        await connection.close()


# For tests in which one service's outbox plays those of all services: it may publish any event.
ANY_SOURCE = "; ".join(
    f"ALTER TABLE IF EXISTS {service}.outbox DROP CONSTRAINT outbox_of_this_service" for service in SERVICES
)


@pytest.fixture
def any_source(database_access: DatabaseAccess) -> None:
    """Let the outboxes of this test's database accept events of other services too."""
    asyncio.run(admin_execute(database_access.owner_dsn, ANY_SOURCE))


@pytest.fixture(scope="session")
def topic_sets(kafka_bootstrap: str) -> Iterator[TopicSets]:
    sets = TopicSets(kafka_bootstrap)
    yield sets
    asyncio.run(sets.delete_all())


@pytest.fixture
def topic_prefix(topic_sets: TopicSets) -> Iterator[str]:
    """Return the prefix of empty topics that no other test uses at the time."""
    prefix = asyncio.run(topic_sets.take())
    yield prefix
    asyncio.run(topic_sets.give_back(prefix))


@pytest.fixture(scope="session")
def service_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the keys with which services authenticate calls to one another."""
    folder = tmp_path_factory.mktemp("service-keys")
    make_service_keys(folder, SERVICES)
    return folder


@pytest.fixture(scope="session")
def exchange_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create the key ring that encrypts exchange keys."""
    file = tmp_path_factory.mktemp("exchange-keys") / "ring.json"
    write_private(file, new_ring(utc_now()).to_json())
    return file


@pytest.fixture
def service_env(
    database_access: DatabaseAccess,
    kafka_bootstrap: str,
    topic_prefix: str,
    service_keys: Path,
    exchange_keys: Path,
) -> ServiceEnv:
    """Return a function that gives a service's environment on this test's database and topics, shared by all
    services."""

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
            **({"EXCHANGE_KEYS_FILE": str(exchange_keys)} if service == "trading" else {}),
        }

    return environment


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Return the folder of cases and candles beside the checkout; tests that need it are not collected without
    it."""
    return SHARED


def pytest_report_header() -> str:
    if SHARED.exists():
        return f"cases beside the checkout: {SHARED}"
    return f"NO CASES BESIDE THE CHECKOUT: {SHARED} is absent, tests that need it are not collected"
