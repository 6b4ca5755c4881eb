"""How a command fails: one line on stderr and an exit code.

CommandFailure
├── CheckFailed   1  what was to hold does not
└── BadInput      2  the input is wrong, or a part is missing on this machine
"""

import click


class CommandFailure(click.ClickException):
    """Shown as one line without a traceback."""

    def show(self, file: object = None) -> None:
        """Print to stderr."""
        click.echo(f"tradefleet: {self.message}", err=True)


class CheckFailed(CommandFailure):
    exit_code = 1


class BadInput(CommandFailure):
    exit_code = 2
