"""The compiled kernel is kept on disk: another process loads it and compiles nothing."""

import subprocess
import sys

from shared.strategy.backtest.integers.compiled import load

COUNT_COMPILATIONS = """
from numba.core import event
from shared.strategy.backtest.integers.compiled import load

with event.install_recorder("numba:compile") as recorder:
    load()
print(len(recorder.buffer))
"""


def test_another_process_loads_what_was_compiled() -> None:
    load()
    command = [sys.executable, "-c", COUNT_COMPILATIONS]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=200)
    assert done.stdout == "0\n"
