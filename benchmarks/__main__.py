"""`make bench`"""

import argparse
import asyncio
import json
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from benchmarks import evaluator, events
from benchmarks.measuring import Figure


def main() -> None:
    """Measure everything and print a table, or one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    as_json = parser.parse_args().json
    figures = [*evaluator.measure(), *asyncio.run(events.measure())]
    if as_json:
        print(json.dumps({"figures": [{**asdict(figure), "ratio": figure.ratio} for figure in figures]}))
    else:
        Console().print(_table(figures))


def _table(figures: list[Figure]) -> Table:
    table = Table("what", "ours", "spread", "peer", "theirs", "ratio")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{figure.ours:,.0f} {figure.unit}",
            f"{figure.spread_pct:.0f} %",
            figure.peer,
            f"{figure.theirs:,.0f}",
            f"{figure.ratio:.2f}",
        )
    return table


if __name__ == "__main__":
    main()
