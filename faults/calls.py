"""The ledger of client calls: each request with its answer, one line of JSON per call."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Outcome = Literal["ok", "failed", "unknown"]
Json: TypeAlias = Mapping[str, Any]  # Any: JSON of clients and services


@dataclass(frozen=True)
class CreatedObject:
    """The object that a call created. `kind` is `session`, `alert` and so on."""

    kind: str
    id: str


@dataclass(frozen=True)
class Call:
    """One request and its answer. `unknown` means no answer or a 5xx: whether it had an effect is not known.

    `tenant` is a public id.
    """

    n: int
    at: str
    tenant: str | None
    operation: str
    path: str
    idempotency_key: str | None
    outcome: Outcome
    status: int | None
    request_id: str | None
    made: CreatedObject | None
    sent: Json | None
    answer: Json | None

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Call":
        fields = json.loads(line)
        made = fields.pop("made")
        return cls(**fields, made=None if made is None else CreatedObject(**made))


class CallLedger:
    """Append-only. Each line is written whole before the next one begins."""

    def __init__(self, file: Path) -> None:
        self._lines = file.open("a", buffering=1)

    def close(self) -> None:
        self._lines.close()

    def note(self, call: Call) -> None:
        self._lines.write(call.to_line())


def read_calls(file: Path) -> list[Call]:
    """Return the calls in the order in which they were answered or timed out. Raises FileNotFoundError."""
    with file.open() as lines:
        return sorted((Call.from_line(line) for line in lines), key=lambda call: call.n)
