"""Asks each part whether it can work."""

import asyncio
from contextlib import suppress

import aiohttp

PROBE_TIMEOUT_S = 3


async def answers(url: str) -> bool:
    """Whether there is a 200; `tcp://host:port` is asked for a connection only."""
    if url.startswith("tcp://"):
        return await _connects(url.removeprefix("tcp://"))
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            async with session.get(url) as answer:
                return answer.status == 200
    return False


async def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return True
    return False
