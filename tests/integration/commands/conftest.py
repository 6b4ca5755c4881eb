"""Helpers that run commands as an operator does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

Type = Callable[..., Result]


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty folder, below which no stack runs, and return it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_command(command: click.Command, *words: str, env: dict[str, str] | None = None, answer: str = "") -> Result:
    return CliRunner().invoke(command, words, env=env, input=answer)


def parse_json(result: Result) -> Any:
    """Parse the output of a command run with `--json`."""
    return json.loads(result.stdout)
