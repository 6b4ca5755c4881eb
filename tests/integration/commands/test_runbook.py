"""Every command in docs/runbook.md exists and accepts the options shown."""

import re
import shlex

import click
import pytest

from cli.__main__ import tradefleet
from stack.migrate import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", PAGE, re.S | re.M)  # a block with a language shows output
TYPED = [line.strip() for language, block in BLOCKS if not language for line in block.splitlines()]
COMMANDS = sorted({line for line in TYPED if line.startswith("tradefleet ")})


def test_the_runbook_contains_commands() -> None:
    assert len(COMMANDS) >= 12
    assert all(line.startswith(("tradefleet ", "kill -KILL ", "openssl genpkey ")) for line in TYPED if line)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_parses(line: str) -> None:
    command: click.Command = tradefleet
    words = shlex.split(line)[1:]
    context = click.Context(command)
    while isinstance(command, click.Group):
        name = words.pop(0)
        found = command.get_command(context, name)
        assert found is not None, name
        command = found
        context = click.Context(command, parent=context)
    command.make_context(line, words)


def test_every_linked_heading_exists() -> None:
    headings = {"#" + line[3:].lower().replace(" ", "-") for line in PAGE.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\((#[a-z-]+)\)", PAGE)) <= headings
