"""HTTP input: invalid requests get a clear answer and reveal nothing else."""

from collections.abc import AsyncIterator
from decimal import Decimal

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from shared.chassis.errors import Conflict
from shared.chassis.http.app import Call, Reply, make_app
from shared.chassis.http.openapi import describe
from shared.chassis.http.paging import PageQuery
from shared.chassis.http.routes import Routes, endpoint
from shared.contracts.types import Amount, BodyModel, ViewModel


class OrderBody(BodyModel):
    price: Amount
    note: str = ""


class OrderView(ViewModel):
    price: Amount


class OrderRoutes(Routes):
    @endpoint("POST", "/v1/orders", "Place", public=True)
    async def place_order(self, _: Call, body: OrderBody) -> OrderView:
        return OrderView(price=body.price)

    @endpoint("GET", "/v1/orders", "List", public=True)
    async def list_orders(self, _: Call, query: PageQuery) -> OrderView:
        return OrderView(price=Decimal(query.limit))

    @endpoint("GET", "/v1/refused", "Refuse", public=True)
    async def refuse(self, _: Call) -> None:
        raise Conflict("another request was faster", winner="else")

    @endpoint("GET", "/v1/orders/{id}/lines/{line}", "A line", public=True)
    async def answer_line(self, call: Call) -> OrderView:
        return OrderView(price=Decimal(call.number("line")))

    @endpoint("PUT", "/v1/orders/{id}", "Change", public=True)
    async def change_order(self, _: Call) -> None:
        raise Conflict("another request was faster", winner="else")

    @endpoint("GET", "/v1/orders/open", "Open ones", public=True)
    async def list_open_orders(self, _: Call, query: PageQuery) -> Reply[OrderView]:
        return Reply(OrderView(price=Decimal(query.limit)))

    @endpoint("GET", "/v1/failing", "Fail", public=True)
    async def fail(self, _: Call) -> None:
        raise RuntimeError("a secret that must not leak")


JSON = {"Content-Type": "application/json"}
ENDPOINTS = OrderRoutes().endpoints()


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    app = make_app(ENDPOINTS, None, body_limit_bytes=100_000)
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        yield session


@pytest.mark.parametrize(
    ("body", "status", "path"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"price": "1", "price": "2"}', 400, None),
        (b'{"price": NaN}', 400, None),
        (b'{"price": Infinity}', 400, None),
        (b'{"price": 1e999999}', 400, None),
        (b'{"price": "1", "note": "\\u0000"}', 400, None),
        (b'{"price": "1", "note": "\\ud800"}', 400, None),
        (b"[" * 100_001, 413, None),
        (b"[" * 50_000, 400, None),
        (b'{"price": "1"' + b" " * 200_000 + b"}", 413, None),
        (b"[]", 422, "$"),
        (b"{}", 422, "$.price"),
        (b'{"price": "1_000"}', 422, "$.price"),
        (b'{"price": "1e5"}', 422, "$.price"),
        (b'{"price": "NaN"}', 422, "$.price"),
        (b'{"price": true}', 422, "$.price"),
        (b'{"price": "123456789012345678901"}', 422, "$.price"),
        ('{"price": "\u0661"}'.encode(), 422, "$.price"),
        (b'{"price": "1", "extra": 1}', 422, "$.extra"),
    ],
)
async def test_hostile_bodies_get_a_clear_4xx(
    client: aiohttp.ClientSession, body: bytes, status: int, path: str | None
) -> None:
    async with client.post("/v1/orders", data=body, headers=JSON) as answer:
        problem = await answer.json(content_type="application/problem+json")
    assert answer.status == problem["status"] == status
    assert problem["request_id"] == answer.headers["X-Request-Id"]
    if path:
        assert [fault["path"] for fault in problem["errors"]] == [path]


@pytest.mark.parametrize("content_type", ["text/plain", "application/xml", "multipart/form-data", "", "nonsense"])
async def test_a_body_with_another_content_type_is_refused(
    client: aiohttp.ClientSession, content_type: str
) -> None:
    headers = {"Content-Type": content_type}
    async with client.post("/v1/orders", data=b'{"price": "1"}', headers=headers) as answer:
        assert answer.status == 415
        assert (await answer.json(content_type=None))["type"] == "/problems/unsupported-media-type"


async def test_an_amount_is_returned_unchanged(client: aiohttp.ClientSession) -> None:
    async with client.post("/v1/orders", data=b'{"price": "0.100000000000000001"}', headers=JSON) as answer:
        assert await answer.json() == {"price": "0.100000000000000001"}


@pytest.mark.parametrize("query", ["limit=0", "limit=201", "limit=x", "limit=1&limit=2", "other=1", "cursor=%00"])
async def test_queries_are_validated(client: aiohttp.ClientSession, query: str) -> None:
    async with client.get(f"/v1/orders?{query}") as answer:
        assert answer.status == 422


async def test_a_problem_shows_its_type_and_details(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/refused") as answer:
        problem = await answer.json(content_type=None)
    assert (answer.status, problem["type"], problem["winner"]) == (409, "/problems/conflict", "else")


async def test_an_internal_error_reveals_nothing(client: aiohttp.ClientSession) -> None:
    async with client.get("/v1/failing") as answer:
        text = await answer.text()
    assert answer.status == 500
    assert "secret" not in text


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("DELETE", "/v1/orders", 405)])
async def test_an_unknown_path_or_method_is_a_problem_too(
    client: aiohttp.ClientSession, method: str, path: str, status: int
) -> None:
    async with client.request(method, path) as answer:
        assert (await answer.json(content_type=None))["status"] == answer.status == status


def test_an_endpoint_has_the_models_of_its_handlers_signature() -> None:
    models = {each.handler.__name__: (each.body, each.query, each.response) for each in ENDPOINTS}
    assert models["place_order"] == (OrderBody, None, OrderView)
    assert models["list_open_orders"] == (None, PageQuery, OrderView)
    assert models["refuse"] == (None, None, None)


def test_openapi_describes_what_is_validated() -> None:
    document = describe("orders", ENDPOINTS)
    paths = document["paths"]
    assert isinstance(paths, dict)
    assert set(paths) == {endpoint.path for endpoint in ENDPOINTS}
    assert paths["/v1/orders"]["post"]["operationId"] == "place_order"
    assert paths["/v1/orders"]["post"]["requestBody"]["required"] is True


async def test_a_known_path_is_not_matched_as_an_id(
    client: aiohttp.ClientSession,
) -> None:
    async with client.put("/v1/orders/open") as answer:
        assert (answer.status, answer.headers["Allow"]) == (405, "GET")
    async with client.put("/v1/orders/1") as answer:
        assert answer.status == 409


@pytest.mark.parametrize(
    ("line", "status"), [("7", 200), ("0", 200), ("x", 404), ("-1", 404), ("1" * 10, 404), ("٣", 404)]
)
async def test_an_invalid_number_in_a_path_is_not_found(
    client: aiohttp.ClientSession, line: str, status: int
) -> None:
    async with client.get(f"/v1/orders/1/lines/{line}") as answer:
        assert answer.status == status


def test_a_number_in_a_path_is_documented_as_an_integer() -> None:
    paths = describe("orders", ENDPOINTS)["paths"]
    assert isinstance(paths, dict)
    parameters = paths["/v1/orders/{id}/lines/{line}"]["get"]["parameters"]
    assert [(each["name"], each["schema"]["type"]) for each in parameters] == [
        ("id", "string"),
        ("line", "integer"),
    ]
