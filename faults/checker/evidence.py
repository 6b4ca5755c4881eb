"""What a run left behind, read from its folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.calls import Call, read_calls

NUL, REPLACED = "\x00", "\ufffd"  # Postgres stores no NUL


@dataclass(frozen=True)
class TopicMessage:
    """As it stood on a topic."""

    topic: str
    partition: int
    offset: int
    key: str
    headers: Mapping[str, str]
    value: str


@dataclass(frozen=True)
class ShownCanary:
    """What `tenant`, whose own canary this is, was shown at `where`."""

    tenant: str
    canary: str
    where: str
    text: str


@dataclass(frozen=True)
class Settled:
    """How it stood when it was looked at last, `seconds` after everything was healed."""

    ready: Mapping[str, bool]
    lag: Mapping[str, int]  # by group/topic
    seconds: float
    limit_s: float


@dataclass(frozen=True)
class Evidence:
    """`explained`: why an event that was not worked, or not sent, is none to be alarmed about; by its id."""

    calls: Sequence[Call]
    messages: Sequence[TopicMessage]
    shown: Sequence[ShownCanary]
    logs: Sequence[Path]
    settled: Settled | None
    explained: Mapping[str, str]

    def canaries(self) -> dict[str, str]:
        """Canary → whose it is."""
        return {shown.canary: shown.tenant for shown in self.shown if shown.canary}


def read_evidence(folder: Path) -> Evidence:
    """Raises FileNotFoundError where a ledger is not there: what was not kept cannot be judged."""
    return Evidence(
        calls=read_calls(folder / "calls.jsonl"),
        messages=[TopicMessage(**line) for line in _lines(folder / "topics.jsonl")],
        shown=[ShownCanary(**line) for line in _lines(folder / "canaries.jsonl")],
        logs=sorted((folder / "logs").glob("*.log")),
        settled=_settled(folder / "settled.json"),
        explained=_object(folder / "explained.json") or {},
    )


def _lines(file: Path) -> Iterator[Any]:  # Any: as the line has it
    with file.open() as lines:
        for line in lines:
            yield json.loads(line)


def _settled(file: Path) -> Settled | None:
    found = _object(file)
    return None if found is None else Settled(**found)


def _object(file: Path) -> Any:  # Any: whatever JSON
    return json.loads(file.read_text()) if file.exists() else None
