"""Health checks of servers and services, and waiting for a process until it is healthy."""

import asyncio
from contextlib import suppress

import aiohttp
import asyncpg

from stack.failure import BadInput
from stack.process import Child

PROBE_TIMEOUT_S = 3
READY_TIMEOUT_S = 180  # for one process, on a machine that is busy with other work
READY_EVERY_S = 0.05
MAX_RESTARTS = 3  # of a process that is not healthy yet


async def is_healthy(url: str) -> bool:
    """Return whether an HTTP URL returns 200, a database answers, or `tcp://host:port` accepts a connection."""
    if url.startswith("tcp://"):
        return await _connects(url.removeprefix("tcp://"))
    if url.startswith("postgresql://"):
        return await _queries(url)
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            async with session.get(url) as answer:
                return answer.status == 200
    return False


async def pending_operator_action(url: str) -> str:
    """Return why a running process is not ready if only a command of an operator can help; empty otherwise."""
    if not url.endswith("/readyz"):
        return ""
    with suppress(aiohttp.ClientError, TimeoutError, OSError, ValueError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            async with session.get(url) as answer:
                faults = (await answer.json()).get("faults", [])
                return str(faults[0]) if faults and all("`tradefleet " in fault for fault in faults) else ""
    return ""


async def wait_until_healthy(child: Child, url: str) -> str:
    """Wait for a started process; return the action of an operator that it waits for, empty once it is healthy.

    Raises BadInput with the log tail.
    """
    name = child.spec.name
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not await is_healthy(url):
                if action := await pending_operator_action(url):
                    return action
                if child.restarts > MAX_RESTARTS:
                    raise BadInput(f"{name} does not start: {child.log_tail(2)}")
                await asyncio.sleep(READY_EVERY_S)
    except TimeoutError:
        raise BadInput(f"{name} does not become ready: {child.log_tail(2)}") from None
    return ""


async def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, int(port))
            writer.close()
            return True
    return False


async def _queries(dsn: str) -> bool:
    """Run a query: a server that is still recovering accepts connections but refuses queries."""
    with suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            connection = await asyncpg.connect(dsn, timeout=PROBE_TIMEOUT_S)
            try:
                return bool(await connection.fetchval("SELECT true"))
            finally:
                connection.terminate()
    return False
