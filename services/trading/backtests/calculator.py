"""The calculation process, as the backtest worker uses it."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

COMMAND = (sys.executable, "-m", "services.trading.backtests.calculation")
# The only variables passed on: the calculation needs no secrets.
ENVIRONMENT = ("PATH", "PYTHONPATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")
ONE_THREAD = {"OMP_NUM_THREADS": "1"}
LONGEST_LINE = 2**23

Write = Callable[[bytes], Awaitable[None]]


class CalculationEnded(Exception):
    """The process ended before its answer was complete; the message says how."""


class Calculator:
    """A calculation process, started by the first request and after it has ended; reused in between."""

    def __init__(self, command: Sequence[str] = COMMAND, environment: Mapping[str, str] = os.environ) -> None:
        self._command = command
        self._environment = {name: environment[name] for name in ENVIRONMENT if name in environment} | ONE_THREAD
        self._process: asyncio.subprocess.Process | None = None

    async def send(self, request: str, feed: Callable[[Write], Awaitable[None]]) -> None:
        """Send a request, a line of JSON, and the bars that `feed` writes. Raises CalculationEnded."""
        await self._start()
        await self._write(request.encode() + b"\n")
        await feed(self._write)
        await self._write(b"\n")

    async def receive(self) -> AsyncIterator[tuple[str, str]]:
        """Yield the answer's kinds and payloads, up to `end` or `refused`. Raises CalculationEnded."""
        assert self._process is not None, "send() first"
        assert self._process.stdout is not None, "it is a pipe"
        while line := await self._process.stdout.readline():
            kind, _, payload = line.decode().rstrip("\n").partition(" ")
            yield kind, payload
            if kind in ("end", "refused"):
                return
        raise await self._ended()

    async def kill(self) -> None:
        """Kill the process, even in the middle of a calculation."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        self._process = None

    async def _start(self) -> None:
        if self._process is not None and self._process.returncode is None:
            return
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment,
            limit=LONGEST_LINE,
        )

    async def _write(self, data: bytes) -> None:
        assert self._process is not None, "started"
        assert self._process.stdin is not None, "it is a pipe"
        try:
            self._process.stdin.write(data)
            await self._process.stdin.drain()
        except (BrokenPipeError, ConnectionResetError) as error:
            raise await self._ended() from error

    async def _ended(self) -> CalculationEnded:
        assert self._process is not None, "started"
        code = await self._process.wait()
        if code < 0:
            return CalculationEnded(f"the calculation was killed by signal {-code}")
        return CalculationEnded("the evaluator failed")
