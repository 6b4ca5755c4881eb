"""The API client, against a small server."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.testing.api_client import ApiClient, UnexpectedAnswer, open_client

ITEMS = [{"n": number} for number in range(10)]
LOGIN = {"access_token": "new", "refresh_token": "next"}


async def log_in(request: web.Request) -> web.Response:
    ok = await request.json() == {"email": "ann@example.org", "password": "secret"}
    return web.json_response(LOGIN if ok else {"detail": "no such account"}, status=200 if ok else 401)


async def list_items(request: web.Request) -> web.Response:
    if request.headers.get("Authorization") != "Bearer new":
        return web.json_response({"detail": "expired"}, status=401)
    first, limit = int(request.query.get("cursor", "0")), int(request.query["limit"])
    last = first + limit
    items = [item for item in ITEMS if request.query.get("n", str(item["n"])) == str(item["n"])][first:last]
    return web.json_response({"items": items, "next_cursor": str(last) if last < len(ITEMS) else None})


async def echo(request: web.Request) -> web.Response:
    return web.Response(text=request.headers.get("If-Match", "") + request.query.get("seconds", ""))


@pytest.fixture
async def client() -> AsyncIterator[ApiClient]:
    app = web.Application()
    app.router.add_post("/v1/auth/login", log_in)
    app.router.add_get("/v1/items", list_items)
    app.router.add_get("/v1/echo", echo)
    app.router.add_get("/v1/items/stream", echo)
    async with TestServer(app) as server, open_client(f"http://127.0.0.1:{server.port}") as client:
        yield client


async def test_all_pages_of_a_list_are_read(client: ApiClient) -> None:
    client.token = "new"
    assert await client.list_all("/v1/items", limit=3) == ITEMS
    assert await client.list_all("/v1/items?n=4", limit=3) == [{"n": 4}]


async def test_an_expired_token_is_renewed_only_by_a_client_that_renews(client: ApiClient) -> None:
    client.token, client.email, client.password = "old", "ann@example.org", "secret"
    assert (await client.call("GET", "/v1/items?limit=1")).status == 401
    client.renews = True
    assert (await client.call("GET", "/v1/items?limit=1")).ok
    assert (client.token, client.refresh_token) == ("new", "next")


async def test_a_refused_login_leaves_the_first_answer(client: ApiClient) -> None:
    client.token, client.email, client.renews = "old", "bob@example.org", True
    answer = await client.call("GET", "/v1/items?limit=1")
    assert (answer.status, answer.problem(), client.token) == (401, "expired", "old")


async def test_an_answer_that_must_succeed_is_raised_with_its_problem(client: ApiClient) -> None:
    with pytest.raises(UnexpectedAnswer, match=r"^GET /v1/items returned 401: expired$"):
        await client.must("GET", "/v1/items")


async def test_headers_are_sent_and_a_text_is_returned_as_it_is(client: ApiClient) -> None:
    answer = await client.call("GET", "/v1/echo", If_Match='"3"')
    assert (answer.body, answer.raw) == ({}, '"3"')


async def test_a_stream_ends_after_the_stored_events(client: ApiClient) -> None:
    assert (await client.call("GET", "/v1/items/stream")).raw == "0"
