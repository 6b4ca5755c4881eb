"""A supervised child process: started, watched, restarted when it dies, ended together with us."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from stack.private_files import make_private_file

RESTART_FIRST_S = 0.2
RESTART_LONGEST_S = 5.0
STEADY_AFTER_S = 10.0
# The only variables a child inherits from our environment; all others are in its Spec.
INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
PRIVATE_UMASK = 0o077
STOP_TIMEOUT_S = 12.0  # services drain within 10 s
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Spec:
    """A program to run. `stop_signal` requests a graceful stop; `user` holds Popen arguments for another user."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    stop_signal: int = signal.SIGTERM
    user: Mapping[str, Any] = field(default_factory=dict)
    stop_timeout_s: float = STOP_TIMEOUT_S


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return `own` plus the INHERITED variables; secrets and settings of other programs are not passed on."""
    return {**{name: os.environ[name] for name in INHERITED if name in os.environ}, **own}


class Child:
    """Runs a Spec until it is stopped; restarts it when it ends."""

    def __init__(self, spec: Spec, log: Path) -> None:
        self.spec = spec
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self.restarts = 0
        self.stopping = False

    @property
    def pid(self) -> int | None:
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def start(self) -> None:
        self.stopping = False
        await self._spawn()
        self._task = asyncio.create_task(self._supervise(), name=f"supervise-{self.spec.name}")

    async def stop(self) -> None:
        """Stop gracefully; kill after `stop_timeout_s`."""
        self.stopping = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is None or self._process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            self._process.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_timeout_s):
                await self._process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Kill the process, to simulate a fault; the supervisor restarts it."""
        if self.pid is not None:
            os.kill(self.pid, number)

    def log_tail(self, lines: int = 5) -> str:
        """Return the last lines of the log, for an error message."""
        with suppress(OSError):
            return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    async def _spawn(self) -> None:
        log = make_private_file(self._log).open("ab")
        try:
            self._process = await asyncio.create_subprocess_exec(
                *self.spec.command,
                env=child_environment(self.spec.env),
                stdin=asyncio.subprocess.DEVNULL,
                umask=PRIVATE_UMASK,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C must reach only us; we stop the children in order
                preexec_fn=partial(die_with_parent, os.getpid()) if sys.platform == "linux" else None,
                **self.spec.user,
            )
        finally:
            log.close()

    async def _supervise(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s = RESTART_FIRST_S
        while True:
            assert self._process is not None, "start() first"
            began = loop.time()
            code = await self._process.wait()
            if loop.time() - began > STEADY_AFTER_S:
                pause_s = RESTART_FIRST_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RESTART_LONGEST_S)
            self.restarts += 1
            self._log_event(f"exited with {code}; start {self.restarts + 1}")
            try:
                await self._spawn()
            except OSError as error:
                self._log_event(f"cannot be started: {error}")

    def _log_event(self, what: str) -> None:
        """Append a line of the supervisor to the log."""
        with suppress(OSError), make_private_file(self._log).open("a") as log:
            log.write(f"[supervisor] {self.spec.name} {what}\n")


_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int) -> None:
    """Run in the child before exec: have the kernel kill it when the parent is killed."""
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the parent died before prctl took effect
        os._exit(1)
