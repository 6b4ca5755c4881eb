"""Sleeps that end when the service stops."""

import asyncio


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but return at once when `stop` is set."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return


async def pause_until(stop: asyncio.Event, wake: asyncio.Event, seconds: float) -> None:
    """Sleep, but return at once when `stop` or `wake` is set; clear `wake`."""
    waits = [asyncio.ensure_future(each.wait()) for each in (stop, wake)]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
    wake.clear()
