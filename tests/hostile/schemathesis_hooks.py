"""Hooks with knowledge that schemathesis lacks: meaningful documents, and unusual headers."""

import os
from collections.abc import Callable
from typing import Any, TypeAlias, cast
from uuid import uuid4

import requests
import schemathesis
from hypothesis import strategies as st
from pydantic import JsonValue

from shared.testing.api_client import PASSWORD
from tests.hostile.world import EMAIL
from tests.unit.trading.scenes import CROSS

Case: TypeAlias = schemathesis.Case[Any]  # a document of any kind
Json = dict[str, JsonValue]

# Headers that no service reads: their values must not change the answer.
TEXT = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=40).map(str.strip)
HEADERS = st.dictionaries(
    st.sampled_from(["Accept-Language", "User-Agent", "X-Forwarded-For", "X-Request-Id", "traceparent", "Cookie"]),
    TEXT,
    min_size=1,
    max_size=3,
)


def _strategy(name: str) -> Json:
    return {**cast("Json", CROSS), "strategy_name": name}


def _session(_: str) -> Json:
    valid = {"strategy_id": os.environ["HOSTILE_STRATEGY_ID"], "symbol": "BTCUSDT", "mode": "PAPER"}
    return {**valid, "initial_balance": "10000"}


def _backtest(_: str) -> Json:
    valid = {"strategy_id": os.environ["HOSTILE_STRATEGY_ID"], "symbol": "BTCUSDT"}
    return {**valid, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}


def _alert(name: str) -> Json:
    named = {"alert_name": name, "symbol": "BTCUSDT", "interval": "15"}
    return {**named, "alert_type": "PRICE", "condition_data": {"op": "above", "value": "10"}}


def _copy(name: str) -> Json:
    return {"strategy_name": name}


def _account(name: str) -> Json:
    return {"email": f"{name}@example.org", "password": PASSWORD}


# Without valid bodies no strategy would be created, and the operations that need one would not be reached.
VALID: dict[str, Callable[[str], Json]] = {
    "POST /v1/strategies": _strategy,
    "PUT /v1/strategies/{id}": _strategy,
    "POST /v1/strategies/{id}/versions": _strategy,
    "POST /v1/strategies/published/{id}/copy": _copy,
    "POST /v1/strategies/templates/{id}/copy": _copy,
    "POST /v1/sessions": _session,
    "POST /v1/backtests": _backtest,
    "POST /v1/alerts": _alert,
    "POST /v1/auth/register": _account,
}
NAMES = st.text(st.characters(min_codepoint=0x61, max_codepoint=0x7A), min_size=8, max_size=12)


@schemathesis.hook
def before_generate_case(
    context: schemathesis.HookContext, strategy: st.SearchStrategy[Case]
) -> st.SearchStrategy[Case]:
    assert context.operation is not None
    valid = VALID.get(context.operation.label)
    bodies = st.none() if valid is None else st.none() | NAMES.map(valid)
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
        body = {"email": EMAIL, "password": PASSWORD}
        answer = requests.post(f"{os.environ['HOSTILE_AUTH']}/v1/auth/login", json=body, timeout=10)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def set(self, case: Case, data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"
