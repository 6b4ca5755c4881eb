"""Waiting that ends when the service does."""

import asyncio


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, or less if told to stop."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        return
