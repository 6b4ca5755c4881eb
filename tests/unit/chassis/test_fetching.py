"""A record that the client library cannot parse is skipped, and no other record is lost with it."""

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace

from aiokafka import TopicPartition

from shared.chassis.events.fetch import Unreadable, fetch
from tests.pace import patient

BROKEN, WHOLE = TopicPartition("broken", 0), TopicPartition("whole", 0)


class Consumer:
    """Behaves as aiokafka's: at a bad record it raises, and the records fetched from other partitions with it are
    lost."""

    def __init__(self, ends: dict[TopicPartition, int], bad: set[tuple[TopicPartition, int]]) -> None:
        self.ends = ends
        self.bad = bad
        self.states = {each: SimpleNamespace(position=0, has_valid_position=True) for each in ends}
        assignment = SimpleNamespace(tps=list(ends), state_value=self.states.get)
        self._subscription = SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    async def getmany(
        self, *only: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[SimpleNamespace]]:
        assert timeout_ms
        fetched = {}
        for partition in only or list(self.ends):
            state = self.states[partition]
            offsets = range(state.position, min(self.ends[partition], state.position + max_records))
            if any((partition, offset) in self.bad for offset in offsets):
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
            if offsets:
                fetched[partition] = [SimpleNamespace(offset=offset) for offset in offsets]
                state.position = offsets[-1] + 1
        return fetched

    def assignment(self) -> set[TopicPartition]:
        return set(self.ends)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        self.states[partition].position = offset

    async def position(self, partition: TopicPartition) -> int:
        return int(self.states[partition].position)

    def highwater(self, partition: TopicPartition) -> int:
        return self.ends[partition]


async def read_all(consumer: Consumer) -> dict[TopicPartition, list[tuple[int, bool]]]:
    read: dict[TopicPartition, list[tuple[int, bool]]] = {each: [] for each in consumer.ends}
    for _ in range(20):
        for partition, records in (await fetch(consumer, timeout_ms=1, max_records=100)).items():
            read[partition] += _offsets(records)
    return read


def _offsets(records: Sequence[object]) -> list[tuple[int, bool]]:
    return [(each.offset, isinstance(each, Unreadable)) for each in records]  # type: ignore[attr-defined]


async def test_each_record_is_read_once_in_order_and_the_bad_one_is_marked() -> None:
    consumer = Consumer({WHOLE: 3, BROKEN: 5}, {(BROKEN, 2)})
    assert await read_all(consumer) == {
        WHOLE: [(offset, False) for offset in range(3)],
        BROKEN: [(offset, offset == 2) for offset in range(5)],
    }


async def test_consecutive_bad_records_are_skipped() -> None:
    consumer = Consumer({BROKEN: 4}, {(BROKEN, 0), (BROKEN, 1), (BROKEN, 3)})
    assert await read_all(consumer) == {BROKEN: [(0, True), (1, True), (2, False), (3, True)]}


class Quiet(Consumer):
    """Has no records, and waits for them as long as it is asked to."""

    async def getmany(
        self, *_: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[SimpleNamespace]]:
        assert max_records
        await asyncio.sleep(timeout_ms / 1000)
        return {}


async def test_stopping_ends_a_fetch_that_waits() -> None:
    stop = asyncio.Event()
    fetching = asyncio.create_task(fetch(Quiet({WHOLE: 0}, set()), timeout_ms=600_000, max_records=1, stop=stop))
    await asyncio.sleep(0)
    stop.set()
    async with asyncio.timeout(patient(5)):
        assert await fetching == {}
