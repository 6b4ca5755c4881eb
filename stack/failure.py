"""Failures of commands: one line on stderr and an exit code.

CommandFailure
├── CheckFailed   1  a check failed
└── BadInput      2  invalid input, or a missing dependency on this machine
"""

import click


class CommandFailure(click.ClickException):
    """Printed as one line without a traceback."""

    def show(self, file: object = None) -> None:
        """Print to stderr."""
        click.echo(f"tradefleet: {self.message}", err=True)


class CheckFailed(CommandFailure):
    exit_code = 1


class BadInput(CommandFailure):
    exit_code = 2


def program_failed(what: str, code: int, output: str) -> BadInput:
    """Return the failure of a program that ended with this exit code, with the last line that it wrote."""
    return BadInput(f"{what}: {(output.strip().splitlines() or [f'exit code {code}'])[-1]}")
