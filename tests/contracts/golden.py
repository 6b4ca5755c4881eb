"""The messages of each version of each event as they once stood on the wire, kept for ever.

A field that is added later (with a default, and without a new version) gets a file of its own beside the first,
`<topic>.v<version>.<n>.json`. `python -m tests.contracts.golden` writes the first file of an event that has none;
nothing writes one that is there.
"""

import json
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.chassis import telemetry
from shared.chassis.events.headers import headers_of
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Message
from tests.contracts.samples import SAID_AT, SAMPLES, TRACEPARENT, id_of, source_of

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    """`schema` is what its readers took for valid when it was written."""

    topic: str
    version: int
    key: str
    headers: Mapping[str, str]
    value: str
    schema: Mapping[str, Any]  # Any: JSON


def read(file: Path) -> Golden:
    topic, _, version = file.stem.partition(".v")
    return Golden(topic, int(version.split(".")[0]), **json.loads(file.read_text()))


def all_golden() -> list[Golden]:
    return [read(file) for file in sorted(FOLDER.glob("*.json"))]


def first_file(event: type[Message]) -> Path:
    return FOLDER / f"{event.topic}.v{event.version}.json"


def written_today(sample: Message) -> tuple[str, Mapping[str, str], str]:
    """Key, headers and value, of the fields that the sample names."""

    def headers() -> Mapping[str, str]:
        telemetry.traceparent.set(TRACEPARENT)
        return headers_of(sample, id_of(sample), source_of(sample), SAID_AT)

    return sample.key(), Context().run(headers), sample.model_dump_json(exclude_unset=True)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for event in EVENTS:
        if not first_file(event).exists():
            key, headers, value = written_today(SAMPLES[event.topic])
            content = {"key": key, "headers": headers, "value": value, "schema": event.model_json_schema()}
            first_file(event).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
