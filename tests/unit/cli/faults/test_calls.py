"""The ledger of client calls: whole lines, in order, as they were recorded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faults.calls import Call, CallLedger, CreatedObject, read_calls

CALL = Call(
    n=1,
    at="2026-01-31T09:30:00+00:00",
    tenant="019c0000-0000-7000-8000-0000000000a1",
    operation="POST /v1/sessions",
    path="/v1/sessions",
    idempotency_key="a key",
    outcome="ok",
    status=201,
    request_id="a request",
    made=CreatedObject("session", "019c0000-0000-7000-8000-00000000a100"),
    sent={"symbol": "BTCUSDT"},
    answer={"status": "ACTIVE"},
)
LOST = replace(CALL, n=2, outcome="unknown", status=None, request_id=None, made=None, answer=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.jsonl"


def test_recorded_calls_can_be_read(file: Path) -> None:
    write(file, CALL, LOST)
    assert read_calls(file) == [CALL, LOST]


def test_a_line_is_in_the_file_before_the_next_call(file: Path) -> None:
    ledger = CallLedger(file)
    ledger.note(CALL)
    assert read_calls(file) == [CALL]
    ledger.close()


def test_an_existing_ledger_is_appended_to(file: Path) -> None:
    write(file, CALL)
    write(file, LOST)
    assert read_calls(file) == [CALL, LOST]


def test_calls_are_read_in_the_order_of_their_numbers(file: Path) -> None:
    write(file, LOST, CALL)
    assert [call.n for call in read_calls(file)] == [1, 2]


def test_a_line_is_one_object_with_every_field(file: Path) -> None:
    write(file, LOST)
    assert json.loads(file.read_text()) == {
        "n": 2,
        "at": CALL.at,
        "tenant": CALL.tenant,
        "operation": "POST /v1/sessions",
        "path": "/v1/sessions",
        "idempotency_key": "a key",
        "outcome": "unknown",
        "status": None,
        "request_id": None,
        "made": None,
        "sent": {"symbol": "BTCUSDT"},
        "answer": None,
    }


def write(file: Path, *calls: Call) -> None:
    ledger = CallLedger(file)
    for call in calls:
        ledger.note(call)
    ledger.close()
