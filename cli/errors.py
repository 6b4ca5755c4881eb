"""`tradefleet errors`: every problem that the platform answers, out of the classes that are raised."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import click

from cli.failure import CheckFailed
from cli.options import OneLineCommand
from cli.stack.migrate import ROOT, SERVICES
from shared.chassis.errors import ProblemError

FILE = ROOT / "docs" / "errors.md"
# What the gateway answers by itself: its types end in the status. See deploy/gateway/Caddyfile.
GATEWAY = (
    ("404", 404, "There is no such resource"),
    ("413", 413, "The body is too large"),
    ("502", 502, "The service does not answer; try again"),
    ("503", 503, "The service does not answer; try again"),
    ("504", 504, "The service took too long; try again"),
)
HEAD = """# Errors

Every error is answered as `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`, `request_id`,
and what belongs to it, such as `errors` (a list of {`path`, `reason`}) or `retry_after_s`. `type` is stable: go by
it and by nothing else. `request_id` stands in the `X-Request-Id` header and in our logs too.

Written by `tradefleet errors`.

| type | status | title | what to do | from |
|---|---|---|---|---|
"""
TAIL = """
The gateway answers by itself, with `type` after the status, where it knows no resource or its service is away:

| type | status | title |
|---|---|---|
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
    lines = [
        f"| `/problems/{each.type}` | {each.status} | {each.title} | {each.advice} | {each.origin} |\n"
        for each in problems()
    ]
    ours = [f"| `/problems/{name}` | {status} | {title} |\n" for name, status, title in GATEWAY]
    return HEAD + "".join(lines) + TAIL + "".join(ours)


@dataclass(frozen=True)
class Listed:
    """One type; several classes may share it, with other words."""

    type: str
    status: int
    title: str
    advice: str
    origin: str


def problems() -> list[Listed]:
    """Every type that can be answered, by status."""
    by_type: dict[tuple[int, str], list[type[ProblemError]]] = {}
    for error in _classes():
        by_type.setdefault((error.status, error.type), []).append(error)
    return [
        Listed(
            name,
            status,
            "; ".join(dict.fromkeys(error.title for error in errors)),
            _advice(errors[0]),
            ", ".join(dict.fromkeys(_origin(error) for error in errors)),
        )
        for (status, name), errors in sorted(by_type.items())
    ]


def _classes() -> list[type[ProblemError]]:
    for service in SERVICES:
        if (ROOT / "services" / service / "errors.py").exists():
            import_module(f"services.{service}.errors")
    found = {ProblemError}
    waiting = [ProblemError]
    while waiting:
        more = [error for error in waiting.pop().__subclasses__() if _is_ours(error)]
        found.update(more)
        waiting += more
    return sorted(found, key=lambda error: (error.status, error.type, error.__module__, error.__name__))


def _is_ours(error: type[ProblemError]) -> bool:
    return error.__module__.startswith(("shared.", "services."))


def _origin(error: type[ProblemError]) -> str:
    """The service it comes from."""
    parts = error.__module__.split(".")
    return parts[1] if parts[0] == "services" else "all"


def _advice(error: type[ProblemError]) -> str:
    """What its status means for the client."""
    if error.status in (408, 503) or error.type.endswith("in-flight"):
        return "try again, after `Retry-After`"
    match error.status:
        case 500:
            return "tell us the `request_id`"
        case 401:
            return "get a new access token"
        case 402 | 403:
            return "not with this account or token"
        case 404:
            return "look at the path and the id"
        case 409:
            return "look at what is there"
        case _:
            return "change the request"
