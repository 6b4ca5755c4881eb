"""Records the evidence of a fault run for the checker: all calls, all texts shown to tenants, all topics."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiokafka import ConsumerRecord

from faults.calls import Call, CallLedger, CreatedObject, Json, Outcome
from faults.exchange_faults import FaultyExchange
from shared.chassis.clock import utc_now
from shared.chassis.events.broker_access import KafkaAccess
from stack.topic_messages import read_messages
from stack.topics import topics_of

CALLS, TOPICS, CANARIES, EXCHANGE = "calls.jsonl", "topics.jsonl", "canaries.jsonl", "exchange.jsonl"
EXPLAINED = "explained.json"
# Not recorded, because a reader of the evidence could act as the tenant.
SECRETS = frozenset({"password", "access_token", "refresh_token", "api_key", "api_secret"})


@dataclass(frozen=True)
class SentRequest:
    tenant: str | None
    operation: str
    path: str
    idempotency_key: str | None
    sent: Json | None


@dataclass(frozen=True)
class ReceivedAnswer:
    status: int | None = None
    request_id: str | None = None
    made: CreatedObject | None = None
    answer: Json | None = None


class Evidence:
    """Ledgers in a folder. Lines are written whole, so the files can be read at any time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.outcomes: Counter[str] = Counter()
        self._calls = CallLedger(folder / CALLS)
        self._canaries = (folder / CANARIES).open("a", buffering=1)

    def close(self) -> None:
        self._calls.close()
        self._canaries.close()

    def note_call(self, sent: SentRequest, outcome: Outcome, answer: ReceivedAnswer | None = None) -> None:
        self.outcomes[outcome] += 1
        answered = answer or ReceivedAnswer()
        self._calls.note(
            Call(n=self.outcomes.total(), at=utc_now().isoformat(), outcome=outcome, **vars(sent), **vars(answered))
        )

    def note_shown(self, tenant: str, canary: str, where: str, text: str) -> None:
        """Record the text of an answer to a tenant. `canary` is the tenant's own."""
        line = {"tenant": tenant, "canary": canary, "where": where, "text": text}
        self._canaries.write(json.dumps(line) + "\n")


def without_secrets(body: Any) -> Any:  # Any: any JSON
    if not isinstance(body, Mapping):
        return body
    return {name: without_secrets(value) for name, value in body.items() if name not in SECRETS}


async def dump_topics(kafka: KafkaAccess | str, folder: Path) -> int:
    """Write all messages of all topics and dead letter topics to a file. Returns their count."""
    count = 0
    with (folder / TOPICS).open("w") as file:
        async for record in read_messages(kafka, [topic.name for topic in topics_of()]):
            file.write(json.dumps(_message(record)) + "\n")
            count += 1
    return count


async def dump_exchange(exchange: FaultyExchange, folder: Path) -> tuple[int, int]:
    """Write the exchange's ledger of orders and executions, its positions and its open orders. Returns how many
    orders and executions there were."""
    changes, executions = await exchange.ledger("order"), await exchange.ledger("execution")
    entries = [*changes, *executions]
    for account in await exchange.accounts():
        for kind in ("positions", "open_orders"):
            entries += [{**row, "kind": kind, "uid": account["uid"]} for row in account[kind]]
    with (folder / EXCHANGE).open("w") as file:
        file.writelines(json.dumps(entry) + "\n" for entry in entries)
    return len({change["order_id"] for change in changes}), len(executions)


def _message(record: ConsumerRecord) -> dict[str, object]:
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": (record.key or b"").decode(errors="replace"),
        "headers": {name: value.decode(errors="replace") for name, value in record.headers},
        "value": (record.value or b"").decode(errors="replace"),
    }
