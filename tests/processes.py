"""Processes of services, forked from one that has loaded all services.

As a program of its own, each would load them for one to three seconds of processor time. The tests of the stack and
the demo start them as programs.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from stack.migrate import ROOT, SERVICES
from stack.process import die_with_parent

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([f"services.{name}.app" for name in SERVICES])
POLL_S = 0.01
END_WITHIN_S = 60.0
NO_LOG = Path(os.devnull)


class ServiceProcess:
    """A process that runs a module, as far as tests need it like `subprocess.Popen`."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], log: Path = Path(os.devnull)
    ) -> None:
        """Start `python -m` with these arguments and environment; the process appends its output to `log`."""
        arguments = ([*command], {**environment}, str(log))
        self._process: ForkServerProcess = _FORKS.Process(target=_run, args=arguments, daemon=True)
        self._lock = threading.Lock()  # the exit code arrives once
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        with self._lock:
            return self._process.exitcode

    @property
    def returncode(self) -> int:
        code = self.poll()
        assert code is not None, "it runs"
        return code

    def wait(self, timeout: float = END_WITHIN_S) -> int:
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(f"process {self.pid}", timeout)
            time.sleep(POLL_S)
        return code

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):  # it has ended, and its exit code has not arrived
            if self.poll() is None:
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def _run(command: Sequence[str], environment: Mapping[str, str], log: str) -> None:
    die_with_parent(os.getppid())
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    module, *arguments = command
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
