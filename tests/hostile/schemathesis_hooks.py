"""Hooks with knowledge that schemathesis lacks: meaningful documents, and unusual headers.

What they need of the world is in the environment (test_documents.py): importing it would take each run seconds.
"""

import json
import os
from typing import Any, TypeAlias
from uuid import uuid4

import requests
import schemathesis
from hypothesis import strategies as st

Case: TypeAlias = schemathesis.Case[Any]  # a document of any kind
Json: TypeAlias = dict[str, Any]

# Headers that no service reads: their values must not change the answer.
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept-Language", "User-Agent", "X-Forwarded-For", "X-Request-Id", "traceparent", "Cookie"]),
    TEXT,
    min_size=1,
    max_size=3,
)


# Without valid bodies no strategy would be created, and the operations that need one would not be reached.
VALID: dict[str, str] = json.loads(os.environ["HOSTILE_BODIES"])
NAMES = st.text(st.characters(min_codepoint=0x61, max_codepoint=0x7A), min_size=8, max_size=12)


@schemathesis.hook
def before_generate_case(
    context: schemathesis.HookContext, strategy: st.SearchStrategy[Case]
) -> st.SearchStrategy[Case]:
    assert context.operation is not None
    label = context.operation.label
    bodies: st.SearchStrategy[Json | None] = st.none()
    if valid := VALID.get(label):
        bodies |= NAMES.map(lambda name: json.loads(valid.replace(os.environ["HOSTILE_NAME"], name)))
    return st.builds(_varied, strategy, HEADERS, bodies)


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
        login = json.loads(os.environ["HOSTILE_LOGIN"])
        answer = requests.post(f"{os.environ['HOSTILE_AUTH']}/v1/auth/login", json=login, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
