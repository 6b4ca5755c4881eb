"""`tradefleet`: one command for those who run the platform and those who try it.

Exit codes: 0 done, 1 a check failed, 2 bad input or a missing part, 130 Ctrl-C.
"""

import logging
import sys
from asyncio import CancelledError
from importlib import import_module

import click

from cli.options import BadOption

# Where each command is; imported only when it is called, as some bring much with them.
COMMANDS = {
    "analytics": ("cli.analytics", "analytics", "What analytics keeps: cut the days again from the trades."),
    "asyncapi": ("cli.asyncapi", "asyncapi_command", "Write the AsyncAPI file of all events."),
    "accounts": ("cli.accounts", "accounts", "Close an account, or open it again."),
    "audit": ("cli.audit", "audit", "Are the activity logs what was written?"),
    "backtest": ("cli.backtest", "backtest", "Run a strategy over a file of candles."),
    "candles": ("cli.candles.command", "candles", "Candles: stored ones and the exchange's."),
    "demo": ("cli.demo.command", "demo", "Watch several tenants trade on paper, and check what came of it."),
    "doctor": ("cli.doctor", "doctor", "Say what is missing on this machine and how to get it."),
    "down": ("cli.platform", "down", "Stop what `up --detach` started."),
    "dlq": ("cli.dead_letters.command", "dlq", "Events that wait for a person, or were given up."),
    "errors": ("cli.errors", "errors_command", "Write the list of everything the platform answers as an error."),
    "faults": ("cli.fault_run", "faults", "Break the platform on purpose, and check that nothing is lost."),
    "openapi": ("cli.openapi", "openapi_command", "Write the OpenAPI file of the whole platform."),
    "outbox": ("cli.outbox", "outbox", "What the services have to say: how much waits, and saying it again."),
    "plans": ("cli.plans", "plans", "The catalogue, and people's plans."),
    "session": ("cli.session", "session", "Sessions, and whether they did what a backtest does."),
    "status": ("cli.platform", "status", "What runs where, and whether it is healthy."),
    "topics": ("cli.topics", "topics", "The topics of the broker, and who may read and write them."),
    "up": ("cli.platform", "up", "Start the whole platform on this machine."),
}


class Commands(click.Group):
    """Loads a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in sorted(COMMANDS.items())])


@click.group(cls=Commands)
@click.version_option(package_name="tradefleet")
def tradefleet() -> None:
    """An open, multi-tenant platform for trading bots on Bybit."""


def main() -> None:
    """Run the command that was asked for; failures are one line and an exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # what libraries log is not for this person
    try:
        tradefleet.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt, CancelledError):  # cancelled: Ctrl-C again, while stopping
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        sys.exit(2)
    except click.UsageError as error:
        failure = BadOption(f"{error.format_message()} (see `tradefleet --help`)")
        failure.show()
        sys.exit(2)
    except click.ClickException as failure:
        failure.show()
        sys.exit(failure.exit_code)


if __name__ == "__main__":
    main()
