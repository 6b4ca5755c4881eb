"""What a run of faults keeps for whoever judges it: every call, what tenants were shown, all topics."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord

from faults.calls import Call, CallLedger, Json, Made, Outcome
from shared.chassis.clock import utc_now
from shared.chassis.events.broker_access import KafkaAccess, client_options
from shared.chassis.events.handlers import partitions_of
from stack.topics import topics_of

CALLS, TOPICS, CANARIES = "calls.jsonl", "topics.jsonl", "canaries.jsonl"
EXPLAINED = "explained.json"
# Kept by nobody: whoever reads the evidence could act as the tenant.
SECRETS = frozenset({"password", "access_token", "refresh_token"})


@dataclass(frozen=True)
class Sent:
    tenant: str | None
    operation: str
    path: str
    idempotency_key: str | None
    sent: Json | None


@dataclass(frozen=True)
class Answered:
    status: int | None = None
    request_id: str | None = None
    made: Made | None = None
    answer: Json | None = None


class Evidence:
    """Lines in a folder; the files are whole at every moment."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: Counter[str] = Counter()
        self._calls = CallLedger(folder / CALLS)
        self._canaries = (folder / CANARIES).open("a", buffering=1)

    def close(self) -> None:
        self._calls.close()
        self._canaries.close()

    def note_call(self, sent: Sent, outcome: Outcome, answer: Answered | None = None) -> None:
        self.outcomes[outcome] += 1
        answered = answer or Answered()
        self._calls.note(
            Call(n=self.outcomes.total(), at=utc_now().isoformat(), outcome=outcome, **vars(sent), **vars(answered))
        )

    def note_shown(self, tenant: str, canary: str, where: str, text: str) -> None:
        """What an answer showed to a tenant, whose own canary this is."""
        line = {"tenant": tenant, "canary": canary, "where": where, "text": text}
        self._canaries.write(json.dumps(line) + "\n")


def without_secrets(body: Any) -> Any:  # Any: whatever JSON there is
    if not isinstance(body, Mapping):
        return body
    return {name: without_secrets(value) for name, value in body.items() if name not in SECRETS}


async def tap_topics(kafka: KafkaAccess | str, folder: Path) -> int:
    """Everything on every topic and its dead letters, from the first message to the last; how many there are."""
    consumer = AIOKafkaConsumer(**client_options(kafka), group_id=None, enable_auto_commit=False)
    await consumer.start()
    count = 0
    try:
        partitions = await partitions_of(kafka, [topic.name for topic in topics_of()])
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        left = {partition for partition in partitions if ends[partition] > 0}
        with (folder / TOPICS).open("w") as file:
            while left:
                for records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).values():
                    file.writelines(json.dumps(_message(record)) + "\n" for record in records)
                    count += len(records)
                left = {partition for partition in left if await consumer.position(partition) < ends[partition]}
    finally:
        await consumer.stop()
    return count


def _message(record: ConsumerRecord) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
        "headers": {name: value.decode(errors="replace") for name, value in record.headers},
        "value": (record.value or b"").decode(errors="replace"),
    }
