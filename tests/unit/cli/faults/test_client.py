"""A tenant of the load: what is retried, and what is recorded."""

from collections.abc import AsyncIterator
from pathlib import Path
from random import Random

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from faults.calls import read_calls
from faults.client import LoadTenant
from faults.evidence import CALLS, Evidence
from shared.testing.api_client import open_client

ID = "019c0000-0000-7000-8000-0000000000a1"
IN_FLIGHT = {"type": "/problems/idempotency-in-flight"}
ANSWERS = [(503, {}), (409, IN_FLIGHT), (201, {"alert_id": ID, "alert_name": "low"})]


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[LoadTenant]:
    answers = iter(ANSWERS)

    async def create(_: web.Request) -> web.Response:
        status, body = next(answers)
        return web.json_response(body, status=status, headers={"X-Request-Id": "r"})

    app = web.Application()
    app.router.add_post("/v1/alerts", create)
    evidence = Evidence(tmp_path)
    async with TestServer(app) as server, open_client(f"http://127.0.0.1:{server.port}") as client:
        yield LoadTenant(client.url, client.http, evidence=evidence, canary="canary", draw=Random(1))
    evidence.close()


async def test_a_request_is_repeated_under_one_key_until_its_outcome_is_known(
    tenant: LoadTenant, tmp_path: Path
) -> None:
    assert (await tenant.create("/v1/alerts", {"alert_name": "low"})).status == 201
    assert tenant.ids["alert_id"] == [ID]
    calls = read_calls(tmp_path / CALLS)
    assert [(call.outcome, call.status) for call in calls] == [("unknown", 503), ("failed", 409), ("ok", 201)]
    assert len({call.idempotency_key for call in calls}) == 1
    assert [call.made.id for call in calls if call.made] == [ID]


async def test_a_call_is_recorded_by_its_operation_and_without_secrets(tenant: LoadTenant, tmp_path: Path) -> None:
    await tenant.call("PATCH", f"/v1/alerts/{ID}?x={ID}", {"alert_name": "low", "password": "secret"})
    (call,) = read_calls(tmp_path / CALLS)
    assert (call.operation, call.path) == ("PATCH /v1/alerts/{id}", f"/v1/alerts/{ID}?x={ID}")
    assert (call.outcome, call.status, call.sent) == ("failed", 404, {"alert_name": "low"})


async def test_a_lost_answer_is_unknown(tenant: LoadTenant, tmp_path: Path) -> None:
    tenant.url = "http://127.0.0.1:1"
    assert (await tenant.call("GET", "/v1/alerts")).status == 0
    (call,) = read_calls(tmp_path / CALLS)
    assert (call.outcome, call.status) == ("unknown", None)
