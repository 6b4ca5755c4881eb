"""Reads the evidence of a run from its folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.calls import Call, read_calls

NUL, REPLACED = "\x00", "\ufffd"  # Postgres cannot store NUL in text


@dataclass(frozen=True)
class TopicMessage:
    """A message as stored on its topic."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    value: str


@dataclass(frozen=True)
class ShownCanary:
    """The text that `tenant` was shown at `where`. `canary` is the tenant's own."""

    tenant: str
    canary: str
    where: str
    text: str


@dataclass(frozen=True)
class Settled:
    """The state at the last check, `seconds` after all faults were healed."""

    ready: Mapping[str, bool]
    lag: Mapping[str, int]  # by group/topic
    seconds: float
    limit_s: float


@dataclass(frozen=True)
class Evidence:
    """Everything the checks read. `explained` maps an event id to the reason why it may be unhandled or unsent."""

    calls: Sequence[Call]
    messages: Sequence[TopicMessage]
    shown: Sequence[ShownCanary]
    logs: Sequence[Path]
    settled: Settled | None
    explained: Mapping[str, str]
    exchange: Sequence[Mapping[str, Any]]  # entries of the exchange's ledger, its positions and open orders

    def canaries(self) -> dict[str, str]:
        """Map each canary to its tenant."""
        return {shown.canary: shown.tenant for shown in self.shown if shown.canary}


def read_evidence(folder: Path) -> Evidence:
    """Read all ledgers. Raises FileNotFoundError if one is missing: a check without it would prove nothing."""
    return Evidence(
        calls=read_calls(folder / "calls.jsonl"),
        messages=[TopicMessage(**line) for line in _read_lines(folder / "topics.jsonl")],
        shown=[ShownCanary(**line) for line in _read_lines(folder / "canaries.jsonl")],
        logs=sorted((folder / "logs").glob("*.log")),
        settled=_read_settled(folder / "settled.json"),
        explained=_read_object(folder / "explained.json") or {},
        exchange=list(_read_lines(folder / "exchange.jsonl")),
    )


def _read_lines(file: Path) -> Iterator[Any]:  # Any: JSON of a line
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


def _read_settled(file: Path) -> Settled | None:
    found = _read_object(file)
    return None if found is None else Settled(**found)


def _read_object(file: Path) -> Any:  # Any: any JSON
    return json.loads(file.read_text()) if file.exists() else None
