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
