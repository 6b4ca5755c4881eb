"""Hooks with knowledge that schemathesis lacks: meaningful documents, and unusual headers."""

import os
from typing import Any, TypeAlias
from uuid import uuid4

import requests
import schemathesis
from hypothesis import strategies as st

from shared.testing.api_client import PASSWORD, Json
from shared.testing.tenant import bodies_of
from tests.hostile.world import EMAIL
from tests.unit.trading.scenes import CROSS

Case: TypeAlias = schemathesis.Case[Any]  # a document of any kind

# Headers that no service reads: their values must not change the answer.
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept-Language", "User-Agent", "X-Forwarded-For", "X-Request-Id", "traceparent", "Cookie"]),
    TEXT,
    min_size=1,
    max_size=3,
)


# Without valid bodies no strategy would be created, and the operations that need one would not be reached.
NEED_VALID = frozenset(
    {
        "POST /v1/strategies",
        "PUT /v1/strategies/{id}",
        "POST /v1/strategies/{id}/versions",
        "POST /v1/strategies/published/{id}/copy",
        "POST /v1/strategies/templates/{id}/copy",
        "POST /v1/sessions",
        "POST /v1/backtests",
        "POST /v1/alerts",
        "POST /v1/auth/register",
    }
)
NAMES = st.text(st.characters(min_codepoint=0x61, max_codepoint=0x7A), min_size=8, max_size=12)


@schemathesis.hook
def before_generate_case(
    context: schemathesis.HookContext, strategy: st.SearchStrategy[Case]
) -> st.SearchStrategy[Case]:
    assert context.operation is not None
    label = context.operation.label
    bodies: st.SearchStrategy[Json | None] = st.none()
    if label in NEED_VALID:
        bodies |= NAMES.map(lambda name: _valid(label, name))
    return st.builds(_varied, strategy, HEADERS, bodies)


def _valid(label: str, name: str) -> Json:
    account = {"POST /v1/auth/register": {"email": f"{name}@example.org", "password": PASSWORD}}
    return {**bodies_of(name, CROSS, os.environ["HOSTILE_STRATEGY_ID"]), **account}[label]


def _varied(case: Case, headers: dict[str, str], body: Json | None) -> Case:
    case.headers.update(headers)
    if case.meta is not None and case.meta.generation.mode.is_positive:
        if body is not None:
            case.body = body
        if case.path.endswith("/stream"):
            case.query["seconds"] = 0  # the stream ends after the stored events
        if "Idempotency-Key" in case.headers:  # a reused key would replay the answer for an object deleted since
            case.headers["Idempotency-Key"] = str(uuid4())
    return case


@schemathesis.auth()
class Login:
    """Logs in again after a 401, because operations under test end logins."""

    def get(self, case: Case, context: schemathesis.AuthContext) -> str:
        body = {"email": EMAIL, "password": PASSWORD}
        answer = requests.post(f"{os.environ['HOSTILE_AUTH']}/v1/auth/login", json=body, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
