"""Health checks of servers and services, and waiting for a process until it is healthy."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import asyncpg

from stack.failure import BadInput
from stack.process import Child

PROBE_TIMEOUT_S = 3
READY_TIMEOUT_S = 180  # for one process, on a machine that is busy with other work
READY_EVERY_S = 0.1
MAX_RESTARTS = 3  # of a process that is not healthy yet


@dataclass(frozen=True)
class Health:
    """`action` is a command of an operator that alone can make the process healthy; usually empty."""

    healthy: bool
    action: str = ""


async def is_healthy(url: str) -> bool:
    """Return whether an HTTP URL returns 200, a database answers, or `tcp://host:port` accepts a connection."""
    return (await probe(url)).healthy


async def probe(url: str) -> Health:
    """Ask once."""
    if url.startswith("tcp://"):
        return Health(await _connects(url.removeprefix("tcp://")))
    if url.startswith("postgresql://"):
        return Health(await _queries(url))
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PROBE_TIMEOUT_S)) as session:
            async with session.get(url) as answer:
                if answer.status == 200:
                    return Health(healthy=True)
                return Health(healthy=False, action=_operator_action(await answer.text()))
    return Health(healthy=False)


def _operator_action(body: str) -> str:
    """Return the first fault of `/readyz` if only commands of an operator remove them all; empty otherwise."""
    with suppress(ValueError, AttributeError):
        faults = json.loads(body).get("faults", [])
        return str(faults[0]) if faults and all("`tradefleet " in fault for fault in faults) else ""
    return ""


async def wait_until_healthy(child: Child, url: str) -> str:
    """Wait for a started process; return the action of an operator that it waits for, empty once it is healthy.

    Raises BadInput with the log tail.
    """
    name = child.spec.name
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not (health := await probe(url)).healthy:
                if health.action:
                    return health.action
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
