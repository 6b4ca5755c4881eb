"""The ledger of client calls: what tenants asked for and what they were answered, one line of JSON a call."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Outcome = Literal["ok", "failed", "unknown"]
Json: TypeAlias = Mapping[str, Any]  # Any: whatever JSON clients and services say


@dataclass(frozen=True)
class Made:
    """What a call made; `kind` is `session`, `alert` and so on."""

    kind: str
    id: str


@dataclass(frozen=True)
class Call:
    """`unknown`: no answer, or one of 5xx; nobody knows what became of it. `tenant` is a public id."""

    n: int
    at: str
    tenant: str | None
    operation: str
    path: str
    idempotency_key: str | None
    outcome: Outcome
    status: int | None
    request_id: str | None
    made: Made | None
    sent: Json | None
    answer: Json | None

    def as_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line: str) -> "Call":
        fields = json.loads(line)
        made = fields.pop("made")
        return cls(**fields, made=None if made is None else Made(**made))


class CallLedger:
    """Append-only; every line reaches the file whole before the next begins."""

    def __init__(self, file: Path) -> None:
        self._lines = file.open("a", buffering=1)

    def close(self) -> None:
        self._lines.close()

    def note(self, call: Call) -> None:
        self._lines.write(call.as_line())


def read_calls(file: Path) -> list[Call]:
    """In the order in which they were answered or given up. Raises FileNotFoundError."""
    with file.open() as lines:
        return sorted((Call.of_line(line) for line in lines), key=lambda call: call.n)
