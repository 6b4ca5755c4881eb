"""Every command in docs/runbook.md is one that there is, with options that it has."""

import re
import shlex

import click
import pytest

from cli.__main__ import tradefleet
from stack.migrate import ROOT

PAGE = (ROOT / "docs" / "runbook.md").read_text()
BLOCKS = re.findall(r"^ *```(\w*)\n(.*?)^ *```$", PAGE, re.S | re.M)  # those with a language show what is answered
TYPED = [line.strip() for language, block in BLOCKS if not language for line in block.splitlines()]
COMMANDS = sorted({line for line in TYPED if line.startswith("tradefleet ")})


def test_there_are_commands_in_it() -> None:
    assert len(COMMANDS) >= 12
    assert all(line.startswith(("tradefleet ", "kill -KILL ", "openssl genpkey ")) for line in TYPED if line)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line: str) -> None:
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


def test_every_heading_that_it_leads_to_is_there() -> None:
    headings = {"#" + line[3:].lower().replace(" ", "-") for line in PAGE.splitlines() if line.startswith("## ")}
    assert set(re.findall(r"\]\((#[a-z-]+)\)", PAGE)) <= headings
