"""Progress is shown on a terminal and nowhere else."""

import os
import subprocess
import sys

import pytest

from cli.progress import progress_bar

PROGRAM = """
from cli.progress import progress_bar
with progress_bar("walking") as tell:
    tell(250, 1000)
print("done")
"""


def test_a_terminal_shows_progress_with_the_remaining_time() -> None:
    ours, theirs = os.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=theirs, env=environment, check=True
        )
        shown = os.read(ours, 100_000).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stdout == b"done\n"
    assert "walking" in shown
    assert "25%" in shown
    assert "250/1000" in shown
    assert "-:--:--" in shown  # too early to estimate


def test_nothing_is_shown_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("walking") as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")
