"""Tables on a terminal; in a pipe, wide enough that programs can parse them."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.options import one_line

PIPE_WIDTH = 400


def show(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=PIPE_WIDTH)
    console.print(table)


def plain(text: object) -> Text:
    """Return external text without markup and control characters."""
    return Text(one_line(str(text)))
