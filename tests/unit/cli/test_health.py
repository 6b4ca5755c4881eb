"""A probe of a process: healthy, not healthy yet, or waiting for a command of an operator."""

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from stack.health import Health, probe

ACTION = "the broker has changed: run `tradefleet outbox replay`"


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (200, {"faults": []}, Health(healthy=True)),
        (503, {"faults": [ACTION]}, Health(healthy=False, action=ACTION)),
        (503, {"faults": [ACTION, "the database does not answer"]}, Health(healthy=False)),
        (503, {"faults": []}, Health(healthy=False)),
        (502, "not an object", Health(healthy=False)),
    ],
)
async def test_only_faults_that_an_operator_must_remove_are_an_action(
    status: int, body: object, expected: Health
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.router.add_get("/readyz", answer)
    async with TestServer(app) as server:
        assert await probe(str(server.make_url("/readyz"))) == expected


async def test_a_port_that_nobody_listens_on_is_not_healthy() -> None:
    assert await probe("http://127.0.0.1:1/readyz") == Health(healthy=False)
    assert await probe("tcp://127.0.0.1:1") == Health(healthy=False)
    assert await probe("postgresql://nobody@127.0.0.1:1/nothing") == Health(healthy=False)
