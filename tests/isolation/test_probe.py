"""Tests of the probe: it finds endpoints that leak, each in its own way, and reports no fault of correct ones."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

import pytest
from aiohttp.test_utils import TestServer

from shared.chassis.auth import SCOPES, Principal
from shared.chassis.errors import NotFound, Unauthorized
from shared.chassis.http.app import Call, Endpoint, Reply, make_app
from shared.chassis.http.openapi import describe
from shared.chassis.http.paging import Page, PageQuery
from shared.contracts.types import BodyModel, Id, ViewModel
from shared.testing.api_client import Json, open_client
from shared.testing.isolation_probe import Probe
from shared.testing.operations import Operation, read_operations
from shared.testing.tenant import Tenant

OWNERS, INTRUDERS = (UUID(f"01900000-0000-7000-8000-00000000000{n}") for n in (1, 2))


class ThingView(ViewModel):
    trade_id: UUID
    name: str


class ThingBody(BodyModel):
    name: str


class ShareBody(BodyModel):
    trade_id: Id


class ThingsQuery(PageQuery):
    trade_id: Id | None = None


THINGS = {OWNERS: ("owner", "the owner's canary"), INTRUDERS: ("intruder", "the intruder's canary")}
NAMES = {"owner": 1, "intruder": 2}


def thing(one: UUID) -> ThingView:
    return ThingView(trade_id=one, name=THINGS[one][1])


def own(call: Call, one: UUID) -> ThingView:
    if one not in THINGS or NAMES[THINGS[one][0]] != call.principal.user_id:
        raise NotFound
    return thing(one)


async def get_own(call: Call) -> ThingView:
    return own(call, call.uuid())


async def get_any(call: Call) -> ThingView:
    if call.uuid() not in THINGS:
        raise NotFound
    return thing(call.uuid())


async def get_revealing(call: Call) -> ThingView:
    """Refuse with another message if the thing exists."""
    try:
        return own(call, call.uuid())
    except NotFound:
        raise NotFound("it is not yours" if call.uuid() in THINGS else "there is none") from None


async def get_revealing_by_header(call: Call) -> Reply[ThingView]:
    try:
        return Reply(own(call, call.uuid()))
    except NotFound as error:
        if call.uuid() in THINGS:
            return Reply(None, 404)
        raise error from None


async def list_own(call: Call, query: ThingsQuery) -> Page[ThingView]:
    own_things = [one for one, (name, _) in THINGS.items() if NAMES[name] == call.principal.user_id]
    return Page(items=[thing(one) for one in own_things if query.trade_id in (None, one)])


async def list_all(_: Call, query: ThingsQuery) -> Page[ThingView]:
    return Page(items=[thing(one) for one in THINGS])


async def list_by_id(_: Call, query: ThingsQuery) -> Page[ThingView]:
    return Page(items=[thing(query.trade_id)] if query.trade_id in THINGS else [])


async def share_own(call: Call, body: ShareBody) -> ThingView:
    return own(call, body.trade_id)


async def share_any(_: Call, body: ShareBody) -> ThingView:
    if body.trade_id not in THINGS:
        raise NotFound
    return thing(INTRUDERS)


async def rename(call: Call, body: ThingBody) -> ThingView:
    return own(call, call.uuid())


async def answer_everyone(_: Call) -> Page[ThingView]:
    return Page(items=[])


GET, POST = "GET", "POST"
HONEST = (
    Endpoint(GET, "/v1/trades/{id}", get_own, "", response=ThingView),
    Endpoint(GET, "/v1/trades", list_own, "", response=Page[ThingView], query=ThingsQuery),
    Endpoint(POST, "/v1/shares", share_own, "", response=ThingView, body=ShareBody, scope="trade"),
    Endpoint("PATCH", "/v1/trades/{id}", rename, "", response=ThingView, body=ThingBody, scope="trade"),
)


class Leak(NamedTuple):
    endpoint: Endpoint
    fault: str


LEAKS = (
    Leak(Endpoint(GET, "/v1/trades/{id}", get_any, "", response=ThingView), "answers 200, with nothing's 404"),
    Leak(Endpoint(GET, "/v1/trades/{id}", get_revealing, "", response=ThingView), "answers another body"),
    Leak(Endpoint(GET, "/v1/trades/{id}", get_revealing_by_header, "", response=ThingView), "answers another body"),
    Leak(
        Endpoint(GET, "/v1/trades", list_all, "", response=Page[ThingView], query=ThingsQuery),
        "shows another's the owner's canary",
    ),
    Leak(
        Endpoint(GET, "/v1/trades", list_by_id, "", response=Page[ThingView], query=ThingsQuery),
        "with another's trade_id",
    ),
    Leak(
        Endpoint(POST, "/v1/shares", share_any, "", response=ThingView, body=ShareBody, scope="trade"),
        "answers 200, with nothing's",
    ),
    Leak(Endpoint(GET, "/v1/others/{id}", get_own, "", response=ThingView), "it is not known what it is the id of"),
    Leak(
        Endpoint(GET, "/v1/trades/{id}/{other}", get_own, "", response=ThingView),
        "it is not known what it is the id of",
    ),
    Leak(
        Endpoint("PATCH", "/v1/trades/{id}/name", rename, "", response=ThingView, body=ThingBody, scope="trade"),
        "takes a body for which there is no recipe",
    ),
)


class Names:
    """Replaces the authenticator: the token is the name."""

    async def principal(self, authorization: str | None) -> Principal:
        name = (authorization or "").removeprefix("Bearer ")
        if name not in NAMES:
            raise Unauthorized
        return Principal(NAMES[name], UUID(int=NAMES[name]), SCOPES, None)


Find = Callable[..., Awaitable[list[str]]]


BODIES: dict[str, Json] = {
    "POST /v1/shares": {"trade_id": str(INTRUDERS)},
    "PATCH /v1/trades/{id}": {"name": "x"},
}


@pytest.fixture
def find() -> Find:
    """Return a function that gives the probe's findings on a service of these endpoints."""

    async def run_probe(*endpoints: Endpoint, without_samples: bool = False, creates: bool = True) -> list[str]:
        app = make_app(endpoints, Names(), body_limit_bytes=10_000)  # type: ignore[arg-type]
        async with TestServer(app) as server, open_client(str(server.make_url("")).rstrip("/")) as client:
            owner, intruder = (
                Tenant(client.url, client.http, name, canary=canary, ids={"trade_id": [str(one)]})
                for one, (name, canary) in THINGS.items()
            )
            held = replace(owner, ids={}) if without_samples else owner
            return await Probe(held, intruder, BODIES, BODIES if creates else None).faults(described(*endpoints))

    return run_probe


def described(*endpoints: Endpoint) -> list[Operation]:
    return read_operations(json.loads(json.dumps(describe("small", endpoints))))


async def test_a_correct_service_has_no_fault(find: Find) -> None:
    assert await find(*HONEST) == []


@pytest.mark.parametrize("leak", LEAKS, ids=lambda leak: f"{leak.endpoint.handler.__name__} {leak.endpoint.path}")
async def test_a_leak_is_found_and_named(find: Find, leak: Leak) -> None:
    faults = await find(leak.endpoint)
    label = f"{leak.endpoint.method} {leak.endpoint.path}: "
    assert any(fault.startswith(label) and leak.fault in fault for fault in faults), faults


async def test_an_endpoint_without_authentication_is_found(find: Find) -> None:
    """The document declares the endpoint for tenants, but it is served as public."""
    endpoint = Endpoint(GET, "/v1/trades", answer_everyone, "", response=Page[ThingView], query=ThingsQuery)
    app = make_app(
        [Endpoint(GET, "/v1/trades", answer_everyone, "", public=True)],
        None,
        body_limit_bytes=1_000,
    )
    async with TestServer(app) as server, open_client(str(server.make_url("")).rstrip("/")) as client:
        tenant = Tenant(client.url, client.http, canary="canary", ids={"trade_id": [str(OWNERS)]})
        faults = await Probe(tenant, tenant, {}, {}).faults(described(endpoint))
    assert "GET /v1/trades: answers 200 without a token" in faults
    assert "GET /v1/trades: answers 200 to a token of nobody" in faults


async def test_a_route_without_a_sample_is_a_fault(find: Find) -> None:
    faults = await find(*HONEST, without_samples=True)
    assert "GET /v1/trades/{id}: is of a trade_id, and there is none to try it with" in faults
    assert "GET /v1/trades: takes a trade_id, and there is none to try it with" in faults
    assert "POST /v1/shares: takes a trade_id, and there is none to try it with" in faults


async def test_without_bodies_of_the_owner_a_missing_sample_is_no_fault(find: Find) -> None:
    assert await find(*HONEST, without_samples=True, creates=False) == []
