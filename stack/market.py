"""The made-up market of `up`: it advances by itself and resumes its position after a restart."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from stack.failure import BadInput

# Minutes of history before a new market starts, so that indicators have their warm-up.
HISTORY_STEPS = 400 * 24 * 60
POLL_INTERVAL_S = 1.0
ANSWER_TIMEOUT_S = 30


class MadeUpMarket:
    """One step is one minute of the market; the position is stored in `home/market`."""

    def __init__(self, home: Path, bar_ms: int) -> None:
        self._folder = home.absolute() / "market"
        self._bar_ms = bar_ms

    def arguments(self) -> list[str]:
        """Return the sandbox's arguments. Raises BadInput if the folder has a market of an earlier version."""
        if any(self._folder.glob("synthetic_*.csv")):
            raise BadInput(
                f"the market in {self._folder.parent} was created by an earlier version: "
                f"`tradefleet down --home {self._folder.parent} --remove` removes it"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        return ["--bar-ms", str(self._bar_ms), "--made-up"]

    async def restore_position(self, sandbox: str) -> None:
        """Move the sandbox to the last stored position."""
        async with _control(sandbox) as http:
            await self._catch_up(http)

    async def run(self, sandbox: str) -> None:
        """Keep the market running across restarts of the sandbox, and store its position."""
        async with _control(sandbox) as http:
            position = -1
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    before, position = position, await self._catch_up(http)
                    if position <= before or before < 0:  # not moving: new, or restarted
                        async with http.post("/control/start") as answer:
                            answer.raise_for_status()
                    self._store(position)
                await asyncio.sleep(POLL_INTERVAL_S)

    async def _catch_up(self, http: aiohttp.ClientSession) -> int:
        async with http.post("/control/jump", json={"steps_done": self._position()}) as answer:
            answer.raise_for_status()
            return int((await answer.json())["steps_done"])

    @property
    def _file(self) -> Path:
        return self._folder / "position"

    def _position(self) -> int:
        try:
            return int(self._file.read_text())
        except (OSError, ValueError):
            return HISTORY_STEPS

    def _store(self, position: int) -> None:
        partial = self._file.with_suffix(".new")
        partial.write_text(str(position))
        partial.replace(self._file)


def _control(sandbox: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(sandbox, timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S))
