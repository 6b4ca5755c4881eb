"""`make bench`"""

import argparse
import asyncio
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from importlib.metadata import version

from rich.console import Console
from rich.table import Table

from benchmarks import alerts, analytics, auth, backtests, closes, evaluator, idle, live, performance, reads, relay
from benchmarks.measuring import Figure
from benchmarks.servers import start_servers

PIPED_WIDTH = 400  # no column is cut in a file or a pipe, where lines have no limit
PACKAGES = ("numpy", "TA-Lib", "numba", "aiohttp", "aiokafka", "asyncpg", "pydantic")
SERVER_BENCHMARKS = {
    "relay": relay.measure,
    "analytics": analytics.measure,
    "performance": performance.measure,
    "reads": reads.measure,
    "alerts": alerts.measure_with_postgres,
    "auth": auth.measure,
    "backtests": backtests.measure,
    "closes": closes.measure,
    "live": live.measure,
}


def main() -> None:
    """Run the benchmarks, and print a table or one JSON object."""
    names = ["evaluator", "idle", *SERVER_BENCHMARKS]
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("only", nargs="*", choices=[*names, []], help=f"of {', '.join(names)}; default: all")
    arguments = parser.parse_args()
    figures = asyncio.run(_measure(arguments.only or names))
    if arguments.json:
        rows = [{**asdict(figure), "ratio": figure.ratio} for figure in figures]
        print(json.dumps({"versions": _versions(), "figures": rows}))
    else:
        console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
        console.print(_table(figures))
        console.print(", ".join(f"{name} {number}" for name, number in _versions().items()))


def _versions() -> dict[str, str]:
    """Return what the figures depend on, besides the peers, whose versions stand in their rows."""
    packages = {name: version(name) for name in PACKAGES}
    return {"cores": str(os.cpu_count()), "Python": platform.python_version(), **packages}


async def _measure(names: list[str]) -> list[Figure]:
    figures: list[Figure] = []
    if "evaluator" in names:
        with _timed("evaluator"):
            figures += evaluator.measure()
    if "idle" in names:
        with _timed("idle"):
            figures += await idle.measure()
    if "alerts" in names:
        with _timed("alerts, computation only"):
            figures += alerts.measure()
    if wanted := [name for name in SERVER_BENCHMARKS if name in names]:
        async with start_servers() as servers:
            for name in wanted:
                with _timed(name):
                    figures += await SERVER_BENCHMARKS[name](servers)
    return figures


@contextmanager
def _timed(name: str) -> Iterator[None]:
    """Show on the standard error what is measured and how long it took."""
    began = time.monotonic()
    print(f"{name} …", end=" ", file=sys.stderr, flush=True)
    yield
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def _table(figures: list[Figure]) -> Table:
    table = Table("what", "ours", "spread", "peer", "theirs", "spread", "ratio", "aim")
    for figure in figures:
        table.add_row(
            figure.name,
            f"{_number(figure.ours.per_s)} {figure.unit}",
            f"{figure.ours.spread_pct:.0f} %",
            figure.peer,
            _number(figure.theirs.per_s),
            f"{figure.theirs.spread_pct:.0f} %",
            f"{figure.ratio:.2f}",
            "" if figure.aim is None else f"≥ {figure.aim:g}",
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
