"""The first signal stops a command in order, also when nothing reads its output; further signals change nothing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stack.migrate import ROOT

PROGRAM = """
import asyncio, sys
from cli.interruption import cancel_on_signals

async def main():
    stop = cancel_on_signals()
    print("ready", flush=True)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        for _ in range(20):
            await asyncio.sleep(0.02)
        open(sys.argv[1], "w").write(f"stopped {stop.is_set()}")

asyncio.run(main())
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
@pytest.mark.parametrize("closed", [False, True], ids=["somebody reads", "nobody reads"])
def test_a_cleanup_is_finished(tmp_path: Path, number: signal.Signals, closed: bool) -> None:
    done = tmp_path / "done"
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(done)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        if closed:
            process.stdout.close()
        for _ in range(3):
            process.send_signal(number)
        process.wait(20)
    assert done.read_text() == "stopped True"
