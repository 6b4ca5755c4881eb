"""A token that lacks the scope of an operation is refused by every one, before anything of the request is read."""

import re
from dataclasses import replace
from typing import cast
from uuid import UUID

from aiohttp.test_utils import TestClient, TestServer

from shared.chassis.auth import Authenticator, Principal
from shared.chassis.http.app import make_app
from shared.testing.tokens import SCOPES
from stack.reference.document import all_endpoints

ENDPOINTS = [endpoint for endpoint in all_endpoints() if not endpoint.public and not endpoint.internal]


class AnyToken:
    """Takes the token for the scopes of its holder."""

    async def principal(self, authorization: str | None) -> Principal:
        return Principal(1, UUID(int=1), frozenset((authorization or "").split(",")), None)


async def test_every_operation_refuses_a_token_without_its_scope() -> None:
    app = make_app(ENDPOINTS, cast(Authenticator, AnyToken()), body_limit_bytes=100)
    accepted = []
    async with TestClient(TestServer(app)) as client:
        for endpoint in ENDPOINTS:
            path = re.sub(r"\{[^}]*\}", str(UUID(int=2)), endpoint.path)
            others = ",".join(scope for scope in SCOPES if scope != endpoint.needs)
            async with client.request(endpoint.method, path, headers={"Authorization": others}) as answer:
                problem = await answer.json(content_type=None) if answer.status == 403 else {}
            if (problem.get("type"), problem.get("scope")) != ("/problems/missing-scope", endpoint.needs):
                accepted.append(f"{endpoint.method} {endpoint.path}: {answer.status}")
    assert len(ENDPOINTS) > 60
    assert accepted == []


async def test_an_endpoint_that_names_no_scope_refuses_every_token() -> None:
    unnamed = replace(ENDPOINTS[0], method="POST", path="/v1/things", scope=None)
    app = make_app([unnamed], cast(Authenticator, AnyToken()), body_limit_bytes=100)
    async with TestClient(TestServer(app)) as client:
        headers = {"Authorization": ",".join(SCOPES)}
        async with client.request(unnamed.method, unnamed.path, headers=headers) as answer:
            assert (answer.status, (await answer.json(content_type=None))["type"]) == (
                403,
                "/problems/missing-scope",
            )
