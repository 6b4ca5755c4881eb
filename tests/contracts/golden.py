"""The messages of each version of each event as first sent over Kafka, kept permanently.

A field added later (with a default, and without a new version) gets a file of its own beside the first,
`<topic>.v<version>.<n>.json`. `python -m tests.contracts.golden` writes the first file of an event that has none;
it never overwrites an existing file."""

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
from tests.contracts.samples import PUBLISHED_AT, SAMPLES, TRACEPARENT, id_of, source_of

FOLDER = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Golden:
    """`schema` is the schema by which consumers validated the message when it was written."""

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


def serialise(sample: Message) -> tuple[str, Mapping[str, str], str]:
    """Return key, headers and value of a sample, with the fields that the sample sets."""

    def headers() -> Mapping[str, str]:
        telemetry.traceparent.set(TRACEPARENT)
        return headers_of(sample, id_of(sample), source_of(sample), PUBLISHED_AT)

    return sample.key(), Context().run(headers), sample.model_dump_json(exclude_unset=True)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for event in EVENTS:
        if not first_file(event).exists():
            key, headers, value = serialise(SAMPLES[event.topic])
            content = {"key": key, "headers": headers, "value": value, "schema": event.model_json_schema()}
            first_file(event).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
