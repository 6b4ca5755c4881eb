"""Tables on a terminal; elsewhere wide enough for whoever reads them by program."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.options import one_line

WIDTH_OF_A_PIPE = 400


def show(table: Table) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=WIDTH_OF_A_PIPE)
    console.print(table)


def plain(text: object) -> Text:
    """What came from outside: no markup, no control characters."""
    return Text(one_line(str(text)))
