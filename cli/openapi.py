"""`tradefleet openapi`: the OpenAPI document of the whole platform."""

from pathlib import Path

import click

from cli.options import OneLineCommand
from stack.reference.document import document_text


@click.command("openapi", cls=OneLineCommand)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
def openapi_command(output: Path | None) -> None:
    """Print the OpenAPI document that the gateway serves."""
    if output is None:
        click.echo(document_text(), nl=False)
    else:
        output.write_text(document_text())
        click.echo(f"wrote {output}")
