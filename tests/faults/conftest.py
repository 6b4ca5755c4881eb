"""Scenes on the run's servers, and on the tests' own servers, which may be killed."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from shared.contracts.notifications import AlertTriggered
from shared.contracts.trading import TradeClosed
from stack.migrate import DatabaseAccess
from stack.topics import create_topics, delete_topics, topics_of
from tests.backend import RUN_FOLDER, admin_execute
from tests.conftest import ANY_SOURCE, copy_template, database_of
from tests.faults.member import TABLE
from tests.faults.scene import Scene
from tests.faults.servers import OwnServers
from tests.topic_sets import TEST_PARTITIONS

NewScene = Callable[[], Awaitable[Scene]]
CONSUMED = (TradeClosed, AlertTriggered)


@asynccontextmanager
async def scenes_on(dsn: str, template: str, bootstrap: str, folder: Path) -> AsyncIterator[NewScene]:
    """Yield a function that creates scenes, and end them all."""
    made: list[Scene] = []

    async def new() -> Scene:
        access = database_of(dsn, f"test_{uuid4().hex[:12]}")
        await copy_template(dsn, template, access.name)
        connection = await asyncpg.connect(access.owner_dsn)
        await connection.execute(f"{TABLE}; {ANY_SOURCE}")
        await connection.close()
        own_folder = folder / access.name
        own_folder.mkdir()
        scene = Scene(access, environment_of(access, bootstrap, f"t{uuid4().hex[:10]}."), own_folder)
        made.append(scene)
        await create_topics(bootstrap, topics_of(CONSUMED, scene.prefix, TEST_PARTITIONS))
        return scene

    yield new
    for scene in made:
        await scene.end()


def environment_of(access: DatabaseAccess, bootstrap: str, prefix: str) -> dict[str, str]:
    roles = ("app", "worker", "queue")
    return {
        **{f"POSTGRES_{role.upper()}_DSN": access.dsn(f"analytics_{role}") for role in roles},
        "KAFKA_BOOTSTRAP": bootstrap,
        "KAFKA_TOPIC_PREFIX": prefix,
    }


async def clear(dsn: str, scene: Scene) -> None:
    topics = topics_of(CONSUMED, scene.prefix)
    await delete_topics(scene.bootstrap, [topic.name for topic in topics])
    await admin_execute(dsn, f"DROP DATABASE {scene.access.name} WITH (FORCE)")


@pytest.fixture
async def new_scene(
    postgres: str, template: DatabaseAccess, kafka_bootstrap: str, tmp_path: Path
) -> AsyncIterator[NewScene]:
    """Create scenes on the servers that other tests use as well."""
    made: list[Scene] = []
    async with scenes_on(postgres, template.name, kafka_bootstrap, tmp_path) as new:

        async def new_and_noted() -> Scene:
            made.append(await new())
            return made[-1]

        yield new_and_noted
    for scene in made:
        await clear(postgres, scene)


@pytest.fixture
async def scene(new_scene: NewScene) -> Scene:
    return await new_scene()


@pytest.fixture(scope="package")
def own_servers() -> Iterator[OwnServers]:
    """Start servers that may be killed.

    They are in the run's folder because pytest repeatedly closes its own to other users, and Postgres runs as one.
    """
    folder = Path(os.environ[RUN_FOLDER]) / f"killable-{os.getpid()}"
    folder.mkdir(mode=0o755)
    servers = OwnServers(folder)
    try:
        servers.start()
        yield servers
    finally:
        servers.stop()


@pytest.fixture
async def own_scene(own_servers: OwnServers, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene on servers that only this test uses at the moment."""
    own_servers.heal()
    kafka, postgres = own_servers.kafka, own_servers.postgres
    async with scenes_on(postgres.dsn, own_servers.template, kafka.bootstrap, tmp_path) as new:
        yield await new()
