"""A supervised child is restarted when it dies, stopped in order or by force, and never outlives its supervisor."""

import asyncio
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from stack.process import Child, Spec

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
DEAF = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


async def until(holds: Callable[[], bool], within_s: float = 15) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.02)


async def test_a_killed_child_is_restarted_and_its_log_says_so(tmp_path: Path) -> None:
    child = Child(Spec("sleeper", SLEEP), tmp_path / "log")
    await child.start()
    first = child.pid
    child.kill()
    await until(lambda: child.pid not in (None, first))
    assert child.restarts == 1
    assert "exited with -9" in child.log_tail()
    await child.stop()
    assert child.pid is None


async def test_a_child_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    child = Child(Spec("deaf", [sys.executable, "-c", DEAF], stop_timeout_s=0.5), tmp_path / "log")
    await child.start()
    await until(lambda: "deaf" in child.log_tail())
    await child.stop()
    assert child.pid is None


async def test_a_program_that_disappears_is_retried(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    child = Child(Spec("program", [str(program)]), tmp_path / "log")
    await child.start()
    program.rename(tmp_path / "elsewhere")
    child.kill()
    await until(lambda: "cannot be started" in child.log_tail())
    (tmp_path / "elsewhere").rename(program)
    await until(lambda: child.pid is not None)
    await child.stop()


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path) -> None:
    program = """
        import asyncio, pathlib, sys
        from stack.process import Child, Spec

        SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]

        async def main():
            child = Child(Spec("sleeper", SLEEP), pathlib.Path(sys.argv[1]))
            await child.start()
            print(child.pid, flush=True)
            await asyncio.sleep(60)

        asyncio.run(main())
    """
    arguments = [sys.executable, "-c", textwrap.dedent(program), str(tmp_path / "log")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child lives on"
        time.sleep(0.02)
