"""One world per test process for all of these tests: starting five services for each would take longer than the
tests."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest

from stack.migrate import DatabaseAccess
from tests.backend import admin_execute
from tests.conftest import copy_template, database_of
from tests.hostile.world import World, running_world
from tests.topic_sets import TopicSets


@pytest.fixture(scope="package")
def running(
    postgres: str, template: DatabaseAccess, topic_sets: TopicSets, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    database, folder = database_of(postgres, f"test_{uuid4().hex[:12]}"), tmp_path_factory.mktemp("hostile")
    asyncio.run(copy_template(postgres, template.name, database.name))
    prefix = asyncio.run(topic_sets.take())
    try:
        with running_world(folder, database, topic_sets.bootstrap, prefix, {}) as world:
            yield world
    finally:
        asyncio.run(topic_sets.give_back(prefix))
        asyncio.run(admin_execute(postgres, f"DROP DATABASE {database.name} WITH (FORCE)"))


@pytest.fixture
def world(running: World) -> World:
    """The shared world, with a new login."""
    running.log_in()
    return running
