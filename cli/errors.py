"""`tradefleet errors`: every problem that the platform answers, out of the classes that are raised."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from cli.failure import CheckFailed
from cli.options import OneLineCommand
from shared.chassis.errors import ProblemError
from stack.migrate import ROOT, SERVICES

FILE = ROOT / "docs" / "errors.md"
HEAD = """# Errors

Every error is answered as `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `request_id`,
and what belongs to it, such as `errors` (a list of {`path`, `reason`}) or `retry_after_s`. `type` is stable: go by
it and by nothing else. `request_id` stands in the `X-Request-Id` header and in our logs too. It is ours: one that a
client sends is not taken over, so that nobody can write his own into our logs.

Where "again" is yes, the same request may succeed later: wait for the seconds of the `Retry-After` header, and send
what makes something with an `Idempotency-Key`, so that it is made once.

Written by `tradefleet errors` out of the classes in the `errors.py` of chassis and services.

| type | status | title | when | again | from |
|---|---|---|---|---|---|
"""


@click.command("errors", cls=OneLineCommand)
@click.option("--check", is_flag=True, help="Fail if the file is not what the code says.")
@click.option("--output", type=click.Path(path_type=Path), default=FILE, show_default=True)
def errors_command(check: bool, output: Path) -> None:
    """Write the list of errors."""
    text = listing()
    if check:
        if not output.exists() or output.read_text() != text:
            raise CheckFailed(f"{output} is stale: run `tradefleet errors`")
        return
    output.write_text(text)
    click.echo(f"wrote {output}")


def listing() -> str:
    """As Markdown."""
    return HEAD + "".join(
        f"| `/problems/{each.type}` | {each.status} | {each.title} | {each.when} | {each.again} | {each.origin} |\n"
        for each in problems()
    )


@dataclass(frozen=True)
class Listed:
    """One type of problem."""

    type: str
    status: int
    title: str
    when: str
    again: str
    origin: str


def problems() -> list[Listed]:
    """Every type that can be answered, by status."""
    return [
        Listed(
            error.type,
            error.status,
            error.title,
            " ".join((error.__doc__ or "").partition("\n\n")[0].split()),
            "no" if error.retry_after_s is None else "yes",
            _origin(error),
        )
        for error in problem_classes()
    ]


def problem_classes() -> list[type[ProblemError]]:
    """Of chassis and services, one for each type: a class without a type of its own is answered as its parent."""
    for service in SERVICES:
        if (ROOT / "services" / service / "errors.py").exists():
            import_module(f"services.{service}.errors")
    found = {ProblemError}
    waiting = [ProblemError]
    while waiting:
        more = [error for error in waiting.pop().__subclasses__() if _is_ours(error)]
        found.update(more)
        waiting += more
    return sorted((error for error in found if "type" in vars(error)), key=lambda error: (error.status, error.type))


def _is_ours(error: type[ProblemError]) -> bool:
    return error.__module__.startswith(("shared.", "services."))


def _origin(error: type[ProblemError]) -> str:
    """The service it comes from."""
    parts = error.__module__.split(".")
    return parts[1] if parts[0] == "services" else "all"
