"""`up --detach` waits as long as the start makes progress, and otherwise names what is missing."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from cli.up import READY_LINE, wait_until_ready
from stack.failure import BadInput
from stack.home import ProcessRecord, State
from stack.ports import Ports

STEP_TIMEOUT_S = 1.0


@contextmanager
def starting(log: Path, program: str) -> Iterator["subprocess.Popen[bytes]"]:
    with log.open("w") as output:
        command = [sys.executable, "-c", f"import time\n{program}"]
        with subprocess.Popen(command, stdout=output, stderr=output) as process:
            yield process
            process.kill()


def lines(*texts: str, apart_s: float) -> str:
    return "\n".join(f"print({text!r}, flush=True); time.sleep({apart_s})" for text in texts)


def test_a_slow_start_is_waited_for_while_it_makes_progress(tmp_path: Path) -> None:
    program = lines("postgres ready", "database migrated", "topics applied", "auth ready", READY_LINE, apart_s=0.4)
    with starting(tmp_path / "up.log", program) as process:
        wait_until_ready(process, tmp_path, tmp_path / "up.log", STEP_TIMEOUT_S)


def test_the_reason_of_a_failed_start_is_taken_from_its_output(tmp_path: Path) -> None:
    program = lines("  postgres ready", "tradefleet: port 8080 is taken", "  bye", apart_s=0)
    with starting(tmp_path / "up.log", program) as process:
        with pytest.raises(BadInput, match=r"did not start: port 8080 is taken$"):
            wait_until_ready(process, tmp_path, tmp_path / "up.log", STEP_TIMEOUT_S)


def test_a_start_without_progress_names_the_process_that_does_not_answer(tmp_path: Path) -> None:
    ports = Ports()
    closed = ports.take()
    ports.release()
    note = ProcessRecord("billing", 1, 0.0)
    health = {"billing": f"tcp://127.0.0.1:{closed}"}
    (tmp_path / "state.json").write_text(json.dumps(asdict(State(note, health=health, processes=[note]))))
    with starting(tmp_path / "up.log", lines("  auth ready", apart_s=60)) as process:
        with pytest.raises(BadInput, match="billing does not answer"):
            wait_until_ready(process, tmp_path, tmp_path / "up.log", STEP_TIMEOUT_S)


def test_a_start_that_hangs_before_any_process_names_its_last_line(tmp_path: Path) -> None:
    with starting(tmp_path / "up.log", lines("fetching", apart_s=60)) as process:
        with pytest.raises(BadInput, match="no output after 'fetching'"):
            wait_until_ready(process, tmp_path, tmp_path / "up.log", STEP_TIMEOUT_S)
