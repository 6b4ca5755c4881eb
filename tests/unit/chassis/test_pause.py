"""Waits that end when the service stops."""

import asyncio

import pytest

from shared.chassis.pause import unless_stopped


async def _works(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "done"


async def _fails() -> None:
    raise LookupError("the fault of the work")


async def test_finished_work_gives_its_result() -> None:
    assert await unless_stopped(_works(0), asyncio.Event()) == "done"


async def test_a_stop_cancels_the_work() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, stop.set)
    async with asyncio.timeout(5):
        assert await unless_stopped(_works(60), stop) is None


async def test_the_fault_of_the_work_is_raised() -> None:
    with pytest.raises(LookupError):
        await unless_stopped(_fails(), asyncio.Event())
