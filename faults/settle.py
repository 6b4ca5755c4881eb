"""Waits until the platform has settled after the faults, and reports what has not."""

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
from aiokafka.errors import KafkaError

from faults.exchange_faults import FaultyExchange
from stack.consumer_lag import consumer_lag
from stack.health import is_healthy
from stack.migrate import SERVICES
from stack.stack import Stack
from stack.topics import open_admin_client

SETTLED = "settled.json"
WITHIN_S = 120.0
POLL_INTERVAL_S = 0.5
# Sessions that have not processed the last closed bar of the market.
BEHIND = """
    SELECT count(*) FROM trading.user_trading_sessions JOIN trading.session_cursors USING (user_id, session_id)
    WHERE status <> 'STOPPED' AND symbol = $1 AND start_time < to_timestamp($2::float8 / 1000)
          AND (last_bar IS NULL OR last_bar < to_timestamp($2::float8 / 1000))
"""
# Orders that are not at rest, and sessions whose stop is not done.
UNDER_WAY = """
    WITH moving AS (
        SELECT format('the %s of session %s is %s', leg, session_id, state) AS described FROM trading.order_intents
        WHERE state IN ('INTENT', 'SENDING', 'UNKNOWN')
              OR (state IN ('ACKED', 'PARTIALLY_FILLED') AND price IS NULL)
    )
    SELECT (SELECT count(*) FROM moving) AS orders,
           (SELECT coalesce(min(described), '') FROM moving) AS example,
           (SELECT count(*) FROM trading.order_intents WHERE state IN ('ACKED', 'PARTIALLY_FILLED')) AS open,
           (SELECT count(*) FROM trading.user_trading_sessions WHERE status = 'STOPPING') AS stops,
           (SELECT count(DISTINCT (user_id, execution_id)) FROM trading.executions) AS booked
"""
# Not the events behind a dead one of their key: they wait for a person, and I5 reports them unless explained.
WAITING = " UNION ALL ".join(
    f"""
    SELECT '{service}' AS service,
           (SELECT count(*) FROM {service}.outbox AS waiting
            WHERE sent_at IS NULL AND dead_reason IS NULL AND dropped_at IS NULL
                  AND NOT EXISTS (SELECT FROM {service}.outbox AS dead WHERE dead.key = waiting.key
                                  AND dead.dead_reason IS NOT NULL AND dead.dropped_at IS NULL)) AS unsent,
           (SELECT count(*) FROM {service}.parked WHERE state IN ('WAITING', 'HALTED')) AS parked
    """
    for service in SERVICES
)


@dataclass(frozen=True)
class SettledState:
    """Seconds until all processes were ready and until nothing was left to process. `fault` names what is left."""

    ready_s: float
    seconds: float
    fault: str
    ready: Mapping[str, bool]
    lag: Mapping[str, int]  # by group, only above 0

    def write(self, folder: Path) -> None:
        """Write the state for the checker."""
        state = {"ready": self.ready, "lag": self.lag, "seconds": self.seconds, "limit_s": WITHIN_S}
        (folder / SETTLED).write_text(json.dumps(state))


async def settle(stack: Stack) -> SettledState:
    """Wait until the platform has settled; call it after healing and after the load has ended."""
    began = time.monotonic()
    ready_s = 0.0
    fault = "not checked"
    try:
        async with asyncio.timeout(WITHIN_S):
            while fault := _unready(await _ready(stack)):
                await asyncio.sleep(POLL_INTERVAL_S)
            ready_s = time.monotonic() - began
            while fault := await _waiting(stack):
                await asyncio.sleep(POLL_INTERVAL_S)
    except TimeoutError:
        fault = f"not settled within {WITHIN_S:.0f} s: {fault}"
    seconds = time.monotonic() - began
    return SettledState(round(ready_s, 1), round(seconds, 1), fault, await _ready(stack), await _lag(stack))


async def is_trading(stack: Stack) -> bool:
    """Return whether a session has a bar to process or an order to send, or the database does not answer."""
    try:
        connection = await asyncpg.connect(stack.database.owner_dsn)
        try:
            under_way = await connection.fetchrow(UNDER_WAY)
            return under_way["orders"] > 0 or await _behind(stack, connection) > 0
        finally:
            connection.terminate()
    except (asyncpg.PostgresError, asyncpg.InterfaceError, aiohttp.ClientError, OSError):
        return True


async def _ready(stack: Stack) -> dict[str, bool]:
    names = list(stack.health)
    ready = await asyncio.gather(*(is_healthy(stack.health[name]) for name in names))
    return dict(zip(names, ready, strict=True))


def _unready(ready: Mapping[str, bool]) -> str:
    unready = [name for name, healthy in ready.items() if not healthy]
    return f"{', '.join(unready)} not ready" if unready else ""


async def _waiting(stack: Stack) -> str:
    """Return what is left to process, or "".

    Checks sessions, then orders, then outboxes and parked events, then consumer lag, then days: the order in which
    one feeds the next.
    """
    connection = await asyncpg.connect(stack.database.owner_dsn)
    try:
        if behind := await _behind(stack, connection):
            return f"{behind} sessions behind the market"
        if under_way := await _orders_under_way(stack, connection):
            return under_way
        for row in await connection.fetch(WAITING):
            if row["unsent"] or row["parked"]:
                return f"{row['service']}: {row['unsent']} unsent, {row['parked']} parked"
        if lag := await _lag(stack):
            return f"lag {lag}"
        stale = await connection.fetchval("SELECT count(DISTINCT user_id) FROM analytics.stale_days")
    finally:
        await connection.close()
    return f"days of {stale} users not computed" if stale else ""


async def _orders_under_way(stack: Stack, connection: asyncpg.Connection) -> str:
    exchange = FaultyExchange(stack.sandbox)
    executed, opened = len(await exchange.ledger("execution")), await exchange.count_open_orders()
    live = await connection.fetchrow(UNDER_WAY)
    if live["orders"] or live["stops"]:
        return f"{live['orders']} orders and {live['stops']} stops under way; {live['example']}"
    if (live["booked"], live["open"]) != (executed, opened):
        return f"{live['booked']} of {executed} executions booked, {live['open']} of {opened} open orders known"
    return ""


async def _behind(stack: Stack, connection: asyncpg.Connection) -> int:
    behind = 0
    for symbol, at in (await _market_state(stack))["symbols"].items():
        if at["last_closed_ms"] is not None:
            behind += await connection.fetchval(BEHIND, symbol, float(at["last_closed_ms"]))
    return behind


async def _market_state(stack: Stack) -> dict[str, Any]:  # Any: as the sandbox answers
    async with aiohttp.ClientSession(stack.sandbox) as http, http.get("/control/state") as answer:
        state: dict[str, Any] = await answer.json()
        return state


async def _lag(stack: Stack) -> dict[str, int]:
    try:
        async with open_admin_client(stack.kafka) as admin:
            return dict(await consumer_lag(admin, stack.kafka, stack.topic_prefix))
    except KafkaError as error:
        return {repr(error): 1}
