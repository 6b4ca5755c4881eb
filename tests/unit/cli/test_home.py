"""The folder of a stack: one owner, private secrets; processes left by a killed run are ended, and no others."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from stack.failure import BadInput
from stack.home import Home, ProcessRecord, State, find_process, find_process_record, read_state


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def record_of(process: "subprocess.Popen[bytes]") -> ProcessRecord:
    note = find_process_record("sleeper", process.pid)
    assert note is not None
    return note


def leave_state(home: Path, note: ProcessRecord) -> None:
    """Leave the state file of a supervisor that was killed."""
    (home / "state.json").write_text(json.dumps(asdict(State(supervisor=note, processes=[note]))))


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    with Home(tmp_path), pytest.raises(BadInput, match="a stack is already running in"):
        Home(tmp_path).__enter__()
    with Home(tmp_path):
        pass


def test_secrets_are_created_once_and_readable_by_the_owner_only(tmp_path: Path) -> None:
    made = Home(tmp_path).secrets()
    assert Home(tmp_path).secrets() == made
    assert len({made.superuser, *made.roles.values()}) == 1 + len(made.roles)
    for file in (tmp_path / "secrets.json", Home(tmp_path).signing_key):
        assert file.stat().st_mode & 0o777 == 0o600


def test_processes_left_by_a_killed_stack_are_ended(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note = record_of(sleeper)
    leave_state(tmp_path, note)
    with Home(tmp_path):
        assert find_process(note) is None


def test_another_process_with_the_same_id_is_not_ended(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note = record_of(sleeper)
    earlier = replace(note, started=note.started - 1)
    leave_state(tmp_path, earlier)
    with Home(tmp_path):
        assert sleeper.poll() is None
    assert find_process(note) is not None
    assert find_process(earlier) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor": {"name": "x"}}'])
def test_an_invalid_state_file_is_ignored(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) is None
