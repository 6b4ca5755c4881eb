"""`tradefleet candles`."""

import click

from cli.candles.fetch import fetch_command
from cli.candles.repair import check_command, repair_command


@click.group()
def candles() -> None:
    """Candles: those that the platform has stored, and those of the exchange."""


candles.add_command(check_command)
candles.add_command(repair_command)
candles.add_command(fetch_command)
