"""The table of which operation counts as what, checked against every operation."""

import re

import pytest

from shared.chassis.quota.metered_paths import FREE_OPERATIONS, kind_of
from tests.hostile.operations import operations

EVERY = [operation for operation in operations() if not operation.public]
# Operations that, judging by their path, must never be refused; a new one is added to the table, or this test
# fails.
NEVER_REFUSED = re.compile(
    r"POST .*/(stop|pause|flatten|close\w*|cancel\w*|kill[\w-]*|emergency\w*)$"
    r"|DELETE .*(key|exchange-account|credential|/me/sessions|backtest)"
    r"|GET .*/(positions|exposure)\b|GET /v1/(sessions|trades)(/{id}(/stream)?)?$"
    r"|\w+ .*(kill|/auth/|/subscription|/usage|/plans|/invoices|/checkout|/portal)"
)


@pytest.mark.parametrize("label", [each.label for each in EVERY if NEVER_REFUSED.match(each.label)])
def test_operations_that_must_never_be_refused_are_not_metered(label: str) -> None:
    method, _, path = label.partition(" ")
    assert kind_of(method, path) is None


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("POST /v1/sessions", "trading"),
        ("POST /v1/sessions/{id}/resume", "trading"),
        ("GET /v1/sessions/{id}/fills", "trading"),
        ("PUT /v1/strategies/{id}", "trading"),
        ("POST /v1/backtests", "backtest"),
        ("GET /v1/performance/equity", "analysis"),
        ("GET /v1/alerts", "other"),
        ("GET /v1/me", "other"),
        ("GET /v1/sessions", None),
        ("POST /v1/sessions/{id}/stop", None),
        ("DELETE /v1/me/sessions/{id}", None),
        ("GET /v1/usage", None),
        ("POST /v1/usagefoo/stopped", "other"),
    ],
)
def test_the_kind_of_an_operation(operation: str, kind: str | None) -> None:
    method, _, path = operation.partition(" ")
    assert kind_of(method, path) == kind


def test_most_operations_are_metered_and_few_are_free() -> None:
    assert len(FREE_OPERATIONS) < 20
    free = [each.label for each in EVERY if kind_of(each.method, each.path) is None]
    assert len(free) < len(EVERY) / 2
