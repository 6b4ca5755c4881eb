"""The gateway alone: its own answers have the form of a service's."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from stack.migrate import SERVICES
from stack.ports import Ports
from stack.reference.document import all_endpoints
from stack.reference.files import PAGES, write_reference
from stack.reference.problems import list_problems
from stack.stack import CADDYFILE
from stack.tools import find_tool
from tests.hostile.wire import exchange, head
from tests.integration.accounts import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")

AWAY = "127.0.0.1:1"  # nothing listens there
ADDRESSES = ("X-Forwarded-For", "Forwarded", "X-Real-IP", "X_Forwarded_For")
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
UUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")


@dataclass
class Gateway:
    session: aiohttp.ClientSession
    log: Path
    port: int

    async def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[aiohttp.ClientResponse, str]:
        headers = {"X-Request-Id": "the-client's-own", "Authorization": "Bearer a-secret"}
        options = {"data": body, "headers": headers, "allow_redirects": False}
        async with self.session.request(method, path, **options) as answer:  # type: ignore[arg-type]  # as above
            return answer, await answer.text()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a stack's home, with a secret and the files of the gateway."""
    home = tmp_path_factory.mktemp("home")
    (home / "secrets.json").write_text("a secret")
    write_reference(home / "gateway")
    return home


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def gateway(home: Path, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """Run the gateway with a stub for auth that describes each request; the other services are down."""
    ports, folder = Ports(), tmp_path_factory.mktemp("caddy")
    port = ports.take()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", _answer)
    async with TestServer(app) as auth:
        environment = {
            **os.environ,
            **{f"{name.upper()}_ADDRESS": AWAY for name in SERVICES},
            "AUTH_ADDRESS": f"127.0.0.1:{auth.port}",
            "GATEWAY_LISTEN": f"http://:{port}",
            "GATEWAY_FILES": str(home / "gateway"),
            "XDG_DATA_HOME": str(folder),
            "XDG_CONFIG_HOME": str(folder),
        }
        arguments = ["run", "--config", str(CADDYFILE), "--adapter", "caddyfile"]
        ports.release(port)
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                find_tool("caddy"), *arguments, env=environment, stderr=log
            )
        try:
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:
                await eventually(lambda: _answers(session), bool)
                yield Gateway(session, folder / "log", port)
        finally:
            process.terminate()
            await process.wait()


async def _answer(request: web.Request) -> web.Response:
    await request.read()  # as every service does: Caddy sends an answer before the whole body has arrived at once
    addresses = {name: request.headers.getall(name, []) for name in ADDRESSES}
    return web.json_response(
        {"path": request.path, "received": addresses}, headers={"X-Request-Id": "the-service's"}
    )


async def _answers(session: aiohttp.ClientSession) -> bool:
    try:
        async with session.get("/healthz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("GET", "/nothing/here", None, "not-found"),
        ("DELETE", "/openapi.json", None, "method-not-allowed"),
        ("POST", "/v1/me", b"x" * 1_040_000, "too-large"),
        ("GET", "/v1/sessions", None, "bad-gateway"),
        ("GET", "/readyz", None, "bad-gateway"),
    ],
)
async def test_its_own_errors_are_documented_problems(
    gateway: Gateway, method: str, path: str, body: bytes | None, expected: str
) -> None:
    answer, text = await gateway.ask(method, path, body)
    problem = json.loads(text)
    listed = next(each for each in list_problems() if each.type == expected)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (problem["type"], problem["title"]) == (f"/problems/{listed.type}", listed.title)
    assert answer.status == problem["status"] == listed.status
    assert answer.headers.get("Retry-After") == ("1" if listed.retry == "yes" else None)
    assert answer.headers["X-Request-Id"] == problem["request_id"]
    assert UUID.match(problem["request_id"])


async def test_every_answer_has_one_request_id_never_the_one_of_the_client(gateway: Gateway) -> None:
    for path in ("/docs", "/problems", "/openapi.json", "/healthz", "/problems/not-found", "/nothing"):
        answer, _ = await gateway.ask("GET", path)
        assert [bool(UUID.match(each)) for each in answer.headers.getall("X-Request-Id")] == [True], path
    answer, _ = await gateway.ask("GET", "/v1/me")
    assert answer.headers.getall("X-Request-Id") == ["the-service's"]


async def test_a_fault_is_found_in_the_log_by_its_request_id(gateway: Gateway) -> None:
    before = len(gateway.log.read_text().splitlines())
    answer, _ = await gateway.ask("GET", "/v1/sessions?symbol=a-secret")
    await gateway.ask("GET", "/nothing")
    lines = [json.loads(line) for line in gateway.log.read_text().splitlines()[before:]]
    faults = [line for line in lines if line.get("uuid")]
    assert [line["uuid"] for line in faults] == [answer.headers["X-Request-Id"]]
    assert "connection refused" in faults[0]["fault"]
    assert faults[0]["request"]["uri"] == "/v1/sessions"
    assert "a-secret" not in gateway.log.read_text()


async def test_every_problem_links_to_its_description(gateway: Gateway) -> None:
    _, page = await gateway.ask("GET", "/problems")
    for problem in list_problems():
        answer, _ = await gateway.ask("GET", f"/problems/{problem.type}")
        path, _, place = answer.headers["Location"].partition("#")
        assert (answer.status, path) == (302, "/problems")
        assert f'id="{place}"' in page


@pytest.mark.parametrize("path", ["/docs", "/problems"])
async def test_a_page_loads_only_files_of_the_gateway(gateway: Gateway, path: str) -> None:
    """Neither inline code nor another host is allowed, so a page needs no network besides the gateway."""
    answer, page = await gateway.ask("GET", path)
    loaded = [each for each in re.findall(r'(?:src|href)="(/[^"]+)"', page) if each.startswith("/docs/")]
    assert loaded
    for each in (path, *loaded):
        answer, text = await gateway.ask("GET", each)
        assert answer.status == 200, each
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert text == (PAGES / each[1:]).read_text()


@pytest.mark.parametrize("up", ["..", "%2e%2e", "..%2f.."])
async def test_files_beside_the_pages_are_not_served(gateway: Gateway, home: Path, up: str) -> None:
    assert (home / "gateway" / "docs" / ".." / ".." / "secrets.json").exists()
    sent = head("GET", f"/docs/{up}/{up}/secrets.json")
    answer = await asyncio.to_thread(exchange, gateway.port, sent)
    assert (answer.status, b"a secret" in answer.body) == (404, False)


@pytest.mark.parametrize("name", ADDRESSES)
@pytest.mark.parametrize(
    "values", [["6.6.6.6"], ["6.6.6.6, 127.0.0.1"], ["6.6.6.6", "7.7.7.7"], ["for=6.6.6.6"], ["\xff"]]
)
async def test_a_client_cannot_forge_its_address(gateway: Gateway, name: str, values: list[str]) -> None:
    async with gateway.session.get("/v1/me", headers=[(name, value) for value in values]) as answer:
        received = (await answer.json())["received"]
    assert received == {"X-Forwarded-For": ["127.0.0.1"], "Forwarded": [], "X-Real-IP": [], "X_Forwarded_For": []}


async def test_every_operation_reaches_a_service(gateway: Gateway) -> None:
    """A path missing from the gateway's table would get the gateway's own 404."""
    shown = {endpoint.path for endpoint in all_endpoints() if not endpoint.internal}
    unknown = {path for path in shown if (await gateway.ask("GET", path.replace("{id}", "1")))[0].status == 404}
    assert unknown == set()
