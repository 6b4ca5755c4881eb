"""Items that arrive together are written together; one that cannot be written fails alone."""

import asyncio
from collections.abc import Sequence

import pytest

from services.trading.worker.batches import MOST, Batches

BROKEN, UNREACHABLE = -1, -2


class Table:
    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.open = asyncio.Event()
        self.open.set()

    async def write(self, items: Sequence[int]) -> None:
        await self.open.wait()
        if UNREACHABLE in items:
            raise ConnectionError
        if BROKEN in items:
            raise ValueError(items)
        self.batches.append(list(items))

    @property
    def written(self) -> set[int]:
        return {item for batch in self.batches for item in batch}


async def test_what_is_submitted_at_the_same_time_is_one_batch() -> None:
    table = Table()
    batches = Batches(table.write, order=int)
    faults = await asyncio.gather(batches.write([1, 2]), batches.write([3]), batches.write([]))
    assert not any(faults)
    assert table.batches == [[1, 2, 3]]


async def test_batches_are_cut_in_order() -> None:
    table = Table()
    batches = Batches(table.write, order=int)
    await asyncio.gather(batches.write(range(1, 2 * MOST, 2)), batches.write(range(0, 2 * MOST, 2)))
    assert sorted(table.batches) == [list(range(MOST)), list(range(MOST, 2 * MOST))]


async def test_what_is_submitted_during_a_write_goes_together_after_it() -> None:
    table = Table()
    batches = Batches(table.write, order=int)
    table.open.clear()
    first = asyncio.create_task(batches.write([1]))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(batches.write([number])) for number in (2, 3, 4)]
    await asyncio.sleep(0)
    table.open.set()
    await asyncio.gather(first, *others)
    assert table.batches[0] == [1]
    assert table.written == {1, 2, 3, 4}
    assert len(table.batches) == 2


async def test_a_batch_is_bounded() -> None:
    table = Table()
    await Batches(table.write, order=int).write(range(2 * MOST + 1))
    assert sorted(map(len, table.batches)) == [1, MOST, MOST]


async def test_an_item_that_cannot_be_written_fails_alone() -> None:
    table = Table()
    batches = Batches(table.write, order=int)
    others, mine = await asyncio.gather(batches.write(range(100)), batches.write([100, BROKEN, 101]))
    assert others == []
    assert [(item, type(fault)) for item, fault in mine] == [(BROKEN, ValueError)]
    assert table.written == set(range(102))


async def test_an_outage_is_raised_after_everything_was_tried() -> None:
    table = Table()
    batches = Batches(table.write, order=int)
    with pytest.raises(ConnectionError):
        await batches.write([UNREACHABLE, *range(MOST)])
    assert table.written == {MOST - 1}
    assert await batches.write([7]) == []
