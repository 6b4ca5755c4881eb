"""Events on Kafka, read from the first message to the last: counts and announcement times."""

import asyncio
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from aiokafka import ConsumerRecord

from shared.chassis.events.broker_access import KafkaAccess
from shared.chassis.events.decoding import decode_record
from shared.contracts.catalog import EVENTS
from shared.contracts.market import CandleClosed, CandleOpened
from shared.contracts.types import to_ms
from stack.consumer_lag import consumer_lag
from stack.topic_messages import read_messages
from stack.topics import open_admin_client

SETTLE_TIMEOUT_S = 60


@dataclass
class TopicLedger:
    """Distinct events by topic, first announcement of each bar, and the number of dead letters."""

    counts: dict[str, int] = field(default_factory=dict)
    first_announced: dict[tuple[str, str, int], datetime] = field(default_factory=dict)
    dead_letters: int = 0
    _times: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def second_next(self, symbol: str, interval: str, time_ms: int) -> datetime | None:
        """Return when the bar after the next one was first announced; None if it was not."""
        times = self._times.setdefault(
            (symbol, interval), sorted(t for s, i, t in self.first_announced if (s, i) == (symbol, interval))
        )
        index = bisect_right(times, time_ms) + 1
        return self.first_announced[(symbol, interval, times[index])] if index < len(times) else None


async def read_topics(kafka: KafkaAccess | str, prefix: str) -> TopicLedger:
    """Read all topics of the catalogue and their dead letters."""
    ledger = TopicLedger()
    ids: dict[str, set[str]] = {event.topic: set() for event in EVENTS}
    topics = [prefix + topic for topic in (*ids, *(f"{topic}.dlq" for topic in ids))]
    async for record in read_messages(kafka, topics):
        _record(ledger, ids, record.topic.removeprefix(prefix), record)
    ledger.counts = {topic: len(found) for topic, found in ids.items()}
    return ledger


def _record(ledger: TopicLedger, ids: dict[str, set[str]], topic: str, record: ConsumerRecord) -> None:
    if topic.endswith(".dlq"):
        ledger.dead_letters += 1
        return
    received = decode_record(topic, record)
    ids[topic].add(str(received.event_id))
    event = received.event
    if isinstance(event, CandleOpened | CandleClosed):
        announced = datetime.fromisoformat(received.headers["ce_time"])
        bar = (event.symbol, event.interval, to_ms(event.open_time))
        ledger.first_announced[bar] = min(announced, ledger.first_announced.get(bar, announced))


async def wait_until_consumed(
    kafka: KafkaAccess | str, prefix: str, timeout_s: float = SETTLE_TIMEOUT_S
) -> Counter[str]:
    """Wait until all consumer groups have committed everything; returns the remaining lag by group."""
    async with open_admin_client(kafka) as admin:
        try:
            async with asyncio.timeout(timeout_s):
                while lag := await consumer_lag(admin, kafka, prefix):
                    await asyncio.sleep(0.2)
        except TimeoutError:
            return lag
    return Counter()
