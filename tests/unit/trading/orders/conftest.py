"""The loop in which the tests of orders run."""

from collections.abc import Iterator

import pytest
import structlog

from tests.unit.trading.orders.virtual_time import VirtualLoop


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Capture the warnings of restarts, of which schedules have hundreds."""
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()
