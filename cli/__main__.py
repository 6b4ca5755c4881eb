"""The `tradefleet` command line.

Exit codes: 0 success, 1 a check failed, 2 bad input or a missing dependency, 130 Ctrl-C.
"""

import logging
import sys
from asyncio import CancelledError
from importlib import import_module

import click

from cli.options import BadOption

# Commands are imported only when called, as some have large dependencies.
COMMANDS = {
    "analytics": ("cli.analytics", "analytics", "Rebuild the daily performance of analytics."),
    "asyncapi": ("cli.asyncapi", "asyncapi_command", "Write the AsyncAPI file of all events."),
    "accounts": ("cli.accounts", "accounts", "Deactivate and reactivate accounts."),
    "audit": ("cli.audit", "audit", "Verify that the activity logs are unchanged."),
    "backtest": ("cli.backtest", "backtest", "Run a strategy over a candle file."),
    "candles": ("cli.candles.command", "candles", "Fetch candles; check and repair stored ones."),
    "demo": ("cli.demo.command", "demo", "Run several tenants on paper and check the results."),
    "doctor": ("cli.doctor", "doctor", "Show what is missing on this machine and how to get it."),
    "down": ("cli.platform", "down", "Stop a stack started with `up --detach`."),
    "dlq": ("cli.dead_letters.command", "dlq", "Show, replay and drop events that failed."),
    "errors": ("cli.errors", "errors_command", "Write the list of all API errors."),
    "faults": ("cli.fault_run", "faults", "Inject faults and check that no data is lost."),
    "kill-switch": ("cli.kill_switch", "kill_switch", "Stop entries of the platform, a symbol or a tenant."),
    "keys": ("cli.keys", "keys", "Rotate the keys that encrypt exchange keys."),
    "openapi": ("cli.openapi", "openapi_command", "Print the OpenAPI document of the whole platform."),
    "outbox": ("cli.outbox", "outbox", "Show unsent events, and send published ones again."),
    "plans": ("cli.plans", "plans", "Manage the plan catalogue and users' plans."),
    "sandbox": ("cli.sandbox", "sandbox", "Run a local Bybit, to test clients against."),
    "schema": ("cli.schema", "schema_command", "Write each service's database schema."),
    "session": ("cli.session", "session", "Compare a session with its backtest, or report it."),
    "status": ("cli.platform", "status", "Show the processes of a stack and their health."),
    "topics": ("cli.topics", "topics", "Manage topics, access rights and subscribers."),
    "up": ("cli.up", "up", "Start the whole platform on this machine."),
}


class Commands(click.Group):
    """Imports a command when it is called."""

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
    """Run the command line; a failure prints one line and sets the exit code."""
    logging.getLogger().addHandler(logging.NullHandler())  # hide log output of libraries
    try:
        tradefleet.main(standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except (click.Abort, KeyboardInterrupt, CancelledError):  # CancelledError: second Ctrl-C, while stopping
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
