"""The loop in which the tests of orders run."""

from collections.abc import Iterator

import pytest

from tests.unit.trading.orders.virtual_time import VirtualLoop


@pytest.fixture
def loop() -> Iterator[VirtualLoop]:
    loop = VirtualLoop()
    yield loop
    loop.close()
