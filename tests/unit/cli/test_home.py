"""A stack's folder: one owner, private secrets, and what a killed run left is ended, nothing else."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cli.failure import BadInput
from stack.home import Home, ProcessRecord, State, find_process, find_process_record, read_state


@pytest.fixture
def sleeper() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        yield process
        process.kill()


def noted(process: "subprocess.Popen[bytes]") -> ProcessRecord:
    note = find_process_record("sleeper", process.pid)
    assert note is not None
    return note


def leave(home: Path, note: ProcessRecord) -> None:
    """As if a supervisor had been killed."""
    (home / "state.json").write_text(json.dumps(asdict(State(supervisor=note, processes=[note]))))


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    with Home(tmp_path), pytest.raises(BadInput, match="a stack is already running in"):
        Home(tmp_path).__enter__()
    with Home(tmp_path):
        pass


def test_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    made = Home(tmp_path).secrets()
    assert Home(tmp_path).secrets() == made
    assert len({made.superuser, *made.roles.values()}) == 1 + len(made.roles)
    for file in (tmp_path / "secrets.json", Home(tmp_path).signing_key):
        assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_killed_stack_left_is_ended(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    note = noted(sleeper)
    leave(tmp_path, note)
    with Home(tmp_path):
        assert find_process(note) is None


def test_a_process_that_only_has_the_same_number_lives_on(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    note = noted(sleeper)
    earlier = replace(note, started=note.started - 1)
    leave(tmp_path, earlier)
    with Home(tmp_path):
        assert sleeper.poll() is None
    assert find_process(note) is not None
    assert find_process(earlier) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor": {"name": "x"}}'])
def test_a_state_file_that_makes_no_sense_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    assert read_state(tmp_path) is None
