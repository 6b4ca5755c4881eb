"""Each service serves exactly what its OpenAPI document describes; the merged document is their sum."""

import ast
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web

from services.analytics.app import build as build_analytics
from services.analytics.settings import AnalyticsSettings
from services.auth.app import build as build_auth
from services.auth.settings import AuthSettings
from services.billing.app import build as build_billing
from services.billing.settings import BillingSettings
from services.notifications.app import build as build_notifications
from services.notifications.settings import NotificationsSettings
from services.trading.app import build as build_trading
from services.trading.settings import TradingSettings
from shared.chassis.http.app import Endpoint
from shared.chassis.service import Build, RunningService
from shared.chassis.settings import ServiceSettings
from stack.migrate import ROOT, SERVICES
from stack.reference.document import all_endpoints, document_text, platform_document
from tests.integration.accounts import write_signing_key

Json = dict[str, Any]  # Any: JSON
PROGRAMS: dict[str, tuple[Build, type[ServiceSettings]]] = {
    "auth": (build_auth, AuthSettings),
    "billing": (build_billing, BillingSettings),
    "trading": (build_trading, TradingSettings),
    "analytics": (build_analytics, AnalyticsSettings),
    "notifications": (build_notifications, NotificationsSettings),
}
CHASSIS_ROUTES = {("GET", path) for path in ("/openapi.json", "/healthz", "/readyz", "/metrics")}
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"  # routes exist without a database


@dataclass(frozen=True)
class Served:
    endpoints: list[Endpoint]
    routes: set[tuple[str, str]]
    document: Json
    url: str

    def operations(self) -> Iterator[tuple[str, str, Json]]:
        yield from operations_of(self.document)


def operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, operation


@pytest.fixture(params=SERVICES)
async def served(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Served]:
    build, settings_type = PROGRAMS[request.param]
    values = {f"postgres_{role}_dsn": NOWHERE for role in ("app", "worker", "queue")}
    signing_key = {"auth_signing_key_file": str(write_signing_key(tmp_path))} if request.param == "auth" else {}
    settings = settings_type.model_validate({**values, "kafka_bootstrap": "127.0.0.1:1", **signing_key})
    async with RunningService(build, settings, {"http"}) as running, aiohttp.ClientSession() as session:
        async with session.get(f"{running.url}/openapi.json") as answer:
            document = await answer.json()
        app = running._runners[0].app
        assert isinstance(app, web.Application)
        routes = {
            (route.method, route.resource.canonical)
            for route in app.router.routes()
            if route.resource is not None and route.method not in ("HEAD", "*")  # *: refused
        }
        outside = [endpoint for endpoint in running.service.endpoints if not endpoint.internal]
        yield Served(outside, routes, document, running.url)


def test_every_service_is_tested() -> None:
    assert set(PROGRAMS) == set(SERVICES)


async def test_the_document_lists_exactly_the_routes(served: Served) -> None:
    assert {(method, path) for method, path, _ in served.operations()} == served.routes - CHASSIS_ROUTES
    assert served.routes >= CHASSIS_ROUTES


async def test_documented_parameters_and_bodies_are_those_validated(served: Served) -> None:
    endpoints = {(each.method, each.path): each for each in served.endpoints}
    for method, path, operation in served.operations():
        endpoint = endpoints[method, path]
        documented = {(each["in"], each["name"]) for each in operation["parameters"]}
        fields = endpoint.query.model_fields.items() if endpoint.query else ()
        expected = {("query", field.alias or name) for name, field in fields}
        expected |= {("path", name) for name in re.findall(r"{(\w+)}", path)}
        for header, taken in (
            ("Idempotency-Key", endpoint.creates),
            ("If-Match", endpoint.changes_tagged),
            ("If-None-Match", endpoint.tagged and endpoint.method == "GET"),
            ("Last-Event-ID", bool(endpoint.events)),
        ):
            expected |= {("header", header)} if taken else set()
        assert documented == expected, f"{method} {path}"
        assert ("requestBody" in operation) == (endpoint.body is not None), f"{method} {path}"


async def test_public_operations_accept_bodies_as_documented(served: Served) -> None:
    """Sends a missing body, one of another type, and invalid JSON."""
    async with aiohttp.ClientSession() as session:
        for method, path, operation in served.operations():
            if operation["security"] or "requestBody" not in operation:
                continue
            answers = []
            for body, kind in ((b"", "application/json"), (b"x", "text/plain"), (b"{", "application/json")):
                headers = {"Content-Type": kind}
                async with session.request(method, served.url + path, data=body, headers=headers) as answer:
                    answers.append(answer.status)
            needed = operation["requestBody"]["required"]
            assert answers[1:] == [415, 400], path
            assert answers[0] == 400 if needed else answers[0] != 400, path


async def test_refusals_are_documented(served: Served) -> None:
    for method, path, operation in served.operations():
        documented = set(operation["responses"])
        expected = {"503"} | (set() if not operation["security"] else {"401"})
        expected |= {"400", "408", "413", "415", "422"} if "requestBody" in operation else set()
        expected |= {"404"} if "{" in path else set()
        assert expected <= documented, f"{method} {path}: {expected - documented}"


async def test_each_answer_has_a_request_id_and_transient_ones_retry_after(served: Served) -> None:
    for method, path, operation in served.operations():
        for status, answer in operation["responses"].items():
            assert "X-Request-Id" in answer["headers"], f"{method} {path} {status}"
            assert ("Retry-After" in answer["headers"]) >= (status == "503"), f"{method} {path} {status}"
            # A 403 for a missing scope has it too (RFC 6750), but not every 403 is for a scope.
            challenge = "WWW-Authenticate" in answer["headers"]
            assert (status == "401") <= challenge <= (status in ("401", "403")), f"{method} {path} {status}"
        made = operation["responses"].get("201") or operation["responses"].get("202")
        assert made is None or {"Location", "Idempotent-Replayed"} <= set(made["headers"])


async def test_the_merged_document_holds_each_service_as_it_is(served: Served) -> None:
    merged = json.loads(document_text())
    for path, methods in served.document["paths"].items():
        assert merged["paths"][path] == methods
    for kind, parts in served.document["components"].items():
        assert {name: merged["components"][kind].get(name) for name in parts} == parts


def test_the_merged_document_holds_nothing_else() -> None:
    merged = {(method, path) for method, path, _ in operations_of(json.loads(document_text()))}
    assert merged == {(each.method, each.path) for each in all_endpoints() if not each.internal}


def test_no_two_services_have_different_schemas_of_one_name() -> None:
    """In the merged document, one would replace the other."""
    document = cast("Json", platform_document())
    assert [name for name in document["components"]["schemas"] if "__" in name] == []


def test_no_route_reads_the_raw_request() -> None:
    """Anything a handler reads from the raw request is missing from the document."""
    forbidden = {"json", "text", "read", "post", "query", "query_string", "rel_url", "multipart", "content"}
    read = []
    for file in (ROOT / "services").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("call.request", "request"):
                read += [f"{file}:{node.lineno}: {node.attr}"] if node.attr in forbidden else []
    assert read == []
