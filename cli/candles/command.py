"""`tradefleet candles`: fetch candle files; check and repair stored candles."""

import click

from cli.candles.fetch import fetch_command
from cli.candles.repair import check_command, repair_command


@click.group()
def candles() -> None:
    """Fetch candles of the exchange; check and repair the stored ones."""


candles.add_command(check_command)
candles.add_command(repair_command)
candles.add_command(fetch_command)
