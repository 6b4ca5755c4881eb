"""The made-up market of `up`: it moves by itself, and after a restart goes on from where it stood."""

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from cli.failure import BadInput

HISTORY_STEPS = (
    400 * 24 * 60
)  # minutes that have passed when a market begins, so that indicators have their history
LOOK_EVERY_S = 1.0
ANSWER_TIMEOUT_S = 30


class MadeUpMarket:
    """Moves a minute a step; where it stands lives in `home/market`."""

    def __init__(self, home: Path, bar_ms: int) -> None:
        self._folder = home.absolute() / "market"
        self._bar_ms = bar_ms

    def arguments(self) -> list[str]:
        """The sandbox's arguments. Raises BadInput for a folder with a market of 15-minute bars only."""
        if any(self._folder.glob("synthetic_*.csv")):
            raise BadInput(
                f"the market in {self._folder.parent} is of an earlier version: "
                f"`tradefleet down --home {self._folder.parent} --remove` removes it"
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        return ["--bar-ms", str(self._bar_ms), "--made-up"]

    async def go_to_position(self, sandbox: str) -> None:
        """Where it stood when it was last looked after."""
        async with _control(sandbox) as http:
            await self._catch_up(http)

    async def run(self, sandbox: str) -> None:
        """Keep it moving, also when the sandbox was restarted, and note where it stands."""
        async with _control(sandbox) as http:
            while True:
                with suppress(aiohttp.ClientError, TimeoutError):
                    self._note(await self._catch_up(http))
                    async with http.post("/control/start") as answer:
                        answer.raise_for_status()
                await asyncio.sleep(LOOK_EVERY_S)

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

    def _note(self, position: int) -> None:
        partial = self._file.with_suffix(".new")
        partial.write_text(str(position))
        partial.replace(self._file)


def _control(sandbox: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(sandbox, timeout=aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_S))
