"""`tradefleet sandbox bybit`: the sandbox exchange alone, for anyone who tests a Bybit client."""

import click

from sandbox.bybit.__main__ import main


@click.group()
def sandbox() -> None:
    """Run a stand-in of an external service."""


@sandbox.command(context_settings={"ignore_unknown_options": True}, add_help_option=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bybit(arguments: tuple[str, ...]) -> None:
    """Run a local Bybit; `tradefleet sandbox bybit --help` lists its options."""
    main(arguments, program="tradefleet sandbox bybit")
