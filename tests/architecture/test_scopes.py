"""Every operation names the scope that its token needs, and the API documents show it."""

from shared.chassis.http.app import Endpoint
from stack.reference.document import all_endpoints, platform_document

READING_METHODS = {"GET", "HEAD"}


def faults_of(endpoint: Endpoint) -> list[str]:
    where = f"{endpoint.method} {endpoint.path}"
    if endpoint.public or endpoint.internal:
        return [f"{where} is for everybody, or for services, and names a scope"] if endpoint.scope else []
    if endpoint.needs is None:
        return [f"{where} names no scope"]
    of_account = endpoint.path == "/v1/me" or endpoint.path.startswith("/v1/me/")
    wanted = "read" if endpoint.method in READING_METHODS else "admin" if of_account else "trade"
    return [] if endpoint.needs == wanted else [f"{where} needs {endpoint.needs}, not {wanted}"]


def test_every_endpoint_has_the_scope_of_its_method_and_path() -> None:
    assert [fault for endpoint in all_endpoints() for fault in faults_of(endpoint)] == []


def test_an_endpoint_without_a_scope_or_with_a_wrong_one_is_found() -> None:
    async def handler(_: object) -> None:
        return None

    assert faults_of(Endpoint("POST", "/v1/things", handler, "")) == ["POST /v1/things names no scope"]
    other = Endpoint("POST", "/v1/me", handler, "", scope="trade")
    assert faults_of(other) == ["POST /v1/me needs trade, not admin"]
    assert faults_of(Endpoint("GET", "/v1/things", handler, "")) == []
    assert len(faults_of(Endpoint("GET", "/v1/things", handler, "", public=True, scope="read"))) == 1


def test_the_openapi_document_shows_the_scope() -> None:
    endpoints = all_endpoints()
    paths = platform_document()["paths"]
    for endpoint in endpoints:
        if not endpoint.internal:
            shown = paths[endpoint.path][endpoint.method.lower()]  # type: ignore[index]  # JSON
            assert shown["security"] == ([] if endpoint.public else [{"access_token": [endpoint.needs]}])
            assert ("403" in shown["responses"]) or endpoint.public
