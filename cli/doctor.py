"""`tradefleet doctor`: show what is missing on this machine and how to get it."""

import json
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from cli.options import OneLineCommand
from stack import kafka, postgres
from stack.failure import BadInput
from stack.tools import find_tool
from stack.users import server_user

MIN_PYTHON = (3, 11)
MIN_FREE_GB = 2
INSTALL = "make install"


@dataclass(frozen=True)
class DoctorFinding:
    what: str
    ok: bool
    found: str
    remedy: str


@click.command(cls=OneLineCommand)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def doctor(as_json: bool) -> None:
    """Show what is missing on this machine and how to get it."""
    findings = [_check(what, probe, remedy) for what, probe, remedy in CHECKS]
    ok = all(finding.ok for finding in findings)
    if as_json:
        click.echo(json.dumps({"ok": ok, "findings": [asdict(finding) for finding in findings]}))
    else:
        table = Table("requirement", "", "found, or how to get it")
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[red]missing[/]"
            table.add_row(finding.what, mark, finding.found if finding.ok else finding.remedy)
        Console().print(table)
    if not ok:
        raise SystemExit(2)


def _check(what: str, probe: Callable[[], str], remedy: str) -> DoctorFinding:
    try:
        return DoctorFinding(what, True, probe(), remedy)
    except BadInput as error:
        return DoctorFinding(what, False, str(error), remedy)


def _python() -> str:
    if sys.version_info < MIN_PYTHON:
        raise BadInput(platform.python_version())
    return platform.python_version()


def _postgres() -> str:
    return str(postgres.binaries())


def _unprivileged() -> str:
    user = server_user()
    return "runs as you" if user is None else f"runs as {user.pw_name}"


def _java() -> str:
    return str(kafka.java())


def _kafka() -> str:
    kafka.check()
    given = os.environ.get("KAFKA_BOOTSTRAP")
    return f"at {given}" if given else f"{len(kafka.jars())} jars"


def _gateway() -> str:
    return str(find_tool("caddy"))


def _migrations() -> str:
    return str(find_tool("dbmate"))


def _disk() -> str:
    free_gb = shutil.disk_usage(Path.cwd()).free // 10**9
    if free_gb < MIN_FREE_GB:
        raise BadInput(f"{free_gb} GB free")
    return f"{free_gb} GB free"


CHECKS: tuple[tuple[str, Callable[[], str], str], ...] = (
    ("Python 3.11 or newer", _python, "install a newer Python and set PYTHON=… for make"),
    ("Postgres", _postgres, INSTALL),
    ("a user for Postgres", _unprivileged, "start as an ordinary user, or create a user named postgres"),
    ("Java", _java, f"{INSTALL}, or set JAVA_HOME"),
    ("Kafka", _kafka, "connect to the network once, or set KAFKA_HOME (unpacked) or KAFKA_BOOTSTRAP (running)"),
    ("the gateway", _gateway, INSTALL),
    ("migrations", _migrations, INSTALL),
    ("disk", _disk, f"free at least {MIN_FREE_GB} GB"),
)
