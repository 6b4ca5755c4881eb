"""Replays the candles: each step waits until all sessions have processed the last; kills two processes."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiohttp
import asyncpg

from cli.demo.exchange import LiveSessions
from shared.contracts.types import from_ms
from stack.failure import CheckFailed
from stack.stack import Stack

# Maximum time without progress of any session: above restart of a process (2 s) and expiry of leases (10 s).
STALL_TIMEOUT_S = 60
SUBSCRIBE_TIMEOUT_S = 60
POLL_INTERVAL_S = 0.02
KILL_TRADING_AT = 0.4
KILL_FEED_AT = 0.7

# Sessions that have not processed the last closed bar, or have not filled at the open of the next bar.
WAITING = """
    SELECT count(*) FROM trading.user_trading_sessions
    JOIN trading.session_cursors USING (user_id, session_id)
    JOIN unnest($1::text[], $2::timestamptz[], $3::boolean[]) AS at (symbol, closed, is_open) USING (symbol)
    WHERE status <> 'STOPPED' AND (
        last_bar IS NULL OR last_bar < closed
        OR (is_open AND (snapshot->>'pending_entry' IS NOT NULL OR snapshot->>'pending_exit' IS NOT NULL)))
"""

# Changes whenever a session progresses.
POSITIONS = "SELECT sum(extract(epoch FROM last_bar)) FROM trading.session_cursors WHERE NOT ended"


@dataclass
class ReplayProgress:
    """Progress of the replay, shown in the live table."""

    steps_done: int = 0
    steps_total: int = 0
    clock: datetime | None = None
    behind: int = 0
    note: str = ""
    kills: list[str] = field(default_factory=list)


class Replay:
    """Drives the sandbox's control API and watches the sessions' cursors."""

    def __init__(
        self,
        stack: Stack,
        http: aiohttp.ClientSession,
        sandbox: str,
        owner: asyncpg.Connection,
        live: LiveSessions | None = None,
    ) -> None:
        """`live`: those on the exchange, if there are any."""
        self._stack = stack
        self._http = http
        self._control = sandbox + "/control"
        self._owner = owner
        self._live = live
        self.progress = ReplayProgress()

    async def run(self, symbols: list[str], interval: str, bar_ms: int | None, on_step: Callable[[], None]) -> None:
        """Replay all bars. Raises CheckFailed if the sessions stop progressing."""
        await self._wait_for_subscriptions({f"kline.{interval}.{symbol}" for symbol in symbols})
        if bar_ms is None:
            await self._step_through(on_step)
        else:
            await self._watch_paced(on_step)

    async def _step_through(self, on_step: Callable[[], None]) -> None:
        state = await self._state()
        total = self.progress.steps_total = int(state["steps_total"])
        kills = {int(total * KILL_TRADING_AT): "trading", int(total * KILL_FEED_AT): "feed"}
        for step in range(total):
            state = await self._post("step", {"count": 1})
            if (name := kills.get(step)) is not None:
                await self._kill(name)
            self._update_progress(state)
            await self._wait_for_sessions(state)
            on_step()

    async def _watch_paced(self, on_step: Callable[[], None]) -> None:
        state = await self._state()
        total = self.progress.steps_total = int(state["steps_total"])
        kills = {int(total * KILL_TRADING_AT): "trading", int(total * KILL_FEED_AT): "feed"}
        await self._post("start", {})
        while not state["done"]:
            state = await self._state()
            for at in [at for at in kills if at <= state["steps_done"]]:
                await self._kill(kills.pop(at))
            self._update_progress(state)
            self.progress.behind = await self._behind(state)
            on_step()
            await asyncio.sleep(0.05)
        await self._wait_for_sessions(state)

    async def wait_until_stopped(self) -> None:
        """Wait until the live sessions that are to stop have closed their positions. Raises CheckFailed."""
        if self._live is None:
            return
        try:
            async with asyncio.timeout(STALL_TIMEOUT_S):
                while stopping := await self._live.count_stopping():
                    await asyncio.sleep(POLL_INTERVAL_S)
        except TimeoutError:
            raise CheckFailed(f"{stopping} live sessions do not stop; the logs are in {self._stack.home}") from None

    async def _kill(self, name: str) -> None:
        await self._stack.kill(name, signal.SIGKILL)
        self.progress.kills.append(name)
        self.progress.note = f"{name} killed at step {self.progress.steps_done}"

    def _update_progress(self, state: Mapping[str, Any]) -> None:
        self.progress.steps_done = int(state["steps_done"])
        self.progress.clock = from_ms(int(state["clock_ms"]))

    async def _wait_for_sessions(self, state: Mapping[str, Any]) -> None:
        """Wait until every session has processed the last closed bar. Raises CheckFailed if none progresses."""
        loop = asyncio.get_running_loop()
        position, check_at = None, loop.time() + STALL_TIMEOUT_S
        while behind := await self._behind(state):
            self.progress.behind = behind
            if loop.time() > check_at:
                before, position = position, await self._owner.fetchval(POSITIONS)
                if position == before:
                    what = f" ({self._live.waits_for})" if self._live and self._live.waits_for else ""
                    stall = f"{behind} sessions make no progress at {self.progress.clock}{what}"
                    raise CheckFailed(f"{stall}; the logs are in {self._stack.home}")
                check_at = loop.time() + STALL_TIMEOUT_S
            await asyncio.sleep(POLL_INTERVAL_S)
        self.progress.behind = 0

    async def _behind(self, state: Mapping[str, Any]) -> int:
        begun = {symbol: at for symbol, at in state["symbols"].items() if at["last_closed_ms"] is not None}
        closed = [from_ms(int(at["last_closed_ms"])) for at in begun.values()]
        is_open = [at["open_ms"] is not None for at in begun.values()]
        behind = int(await self._owner.fetchval(WAITING, list(begun), closed, is_open))
        if not behind and self._live is not None and self._live.is_concerned(state):
            return await self._live.count_busy(state)
        return behind

    async def _wait_for_subscriptions(self, topics: set[str]) -> None:
        missing = topics
        try:
            async with asyncio.timeout(SUBSCRIBE_TIMEOUT_S):
                while missing := topics - set((await self._state())["subscriptions"]):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise CheckFailed(f"the feed has not subscribed to {', '.join(sorted(missing))}") from None

    async def _state(self) -> Mapping[str, Any]:
        async with self._http.get(self._control + "/state") as answer:
            state: Mapping[str, Any] = await answer.json()
            return state

    async def _post(self, what: str, body: object) -> Mapping[str, Any]:
        async with self._http.post(f"{self._control}/{what}", json=body) as answer:
            state: Mapping[str, Any] = await answer.json()
            return state
