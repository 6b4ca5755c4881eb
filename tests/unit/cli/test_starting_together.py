"""What a stack starts together fails together, in one line; Ctrl-C wins over the failures that it causes itself."""

import asyncio

import pytest

from stack.failure import BadInput, program_failed
from stack.stack import run_together


async def _fail() -> None:
    raise BadInput("a program was ended")


async def test_the_first_failure_is_raised() -> None:
    with pytest.raises(BadInput, match="a program was ended"):
        await run_together(_fail(), asyncio.sleep(60))


async def test_a_cancelled_start_is_cancelled_although_a_part_failed_first() -> None:
    ended = asyncio.Event()

    async def fail_slowly() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await ended.wait()  # its cleanup takes a while

    starting = asyncio.create_task(run_together(_fail(), fail_slowly()))
    await asyncio.sleep(0.01)
    starting.cancel()
    ended.set()
    with pytest.raises(asyncio.CancelledError):
        await starting


@pytest.mark.parametrize(
    ("output", "said"), [("", "it failed: exit code -2"), (" \nfirst\nlast\n", "it failed: last")]
)
def test_the_failure_of_a_program_says_its_last_line_or_its_exit_code(output: str, said: str) -> None:
    assert program_failed("it failed", -2, output).message == said
