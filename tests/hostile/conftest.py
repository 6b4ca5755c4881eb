"""One world per test process for all of these tests: starting five services for each would take longer than the
tests."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from stack.migrate import DatabaseAccess
from stack.topics import create_topics, delete_topics, topics_of
from tests.backend import admin_execute
from tests.conftest import TEST_PARTITIONS, copy_template, database_of
from tests.hostile.world import World, running_world


@pytest.fixture(scope="package")
def running(
    postgres: str, template: DatabaseAccess, kafka_bootstrap: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    database = database_of(postgres, f"test_{uuid4().hex[:12]}")
    prefix = f"t{uuid4().hex[:10]}."
    topics = topics_of(prefix=prefix, max_partitions=TEST_PARTITIONS)
    asyncio.run(copy_template(postgres, template.name, database.name))
    asyncio.run(create_topics(kafka_bootstrap, topics))
    try:
        with running_world(tmp_path_factory.mktemp("hostile"), database, kafka_bootstrap, prefix, {}) as world:
            yield world
    finally:
        asyncio.run(delete_topics(kafka_bootstrap, [topic.name for topic in topics]))
        asyncio.run(admin_execute(postgres, f"DROP DATABASE {database.name} WITH (FORCE)"))


@pytest.fixture
def world(running: World) -> World:
    """The shared world, with a new login."""
    running.log_in()
    return running
