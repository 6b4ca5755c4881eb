"""Commands as an operator types them."""

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
    """A folder below which no stack runs."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(command: click.Command, *words: str, env: dict[str, str] | None = None, answer: str = "") -> Result:
    return CliRunner().invoke(command, words, env=env, input=answer)


def told(result: Result) -> Any:
    """What `--json` says."""
    return json.loads(result.stdout)
