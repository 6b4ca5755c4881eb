"""All problem types of the API, read from the exception classes, and the page that describes them."""

import re
from dataclasses import dataclass
from html import escape
from importlib import import_module

from shared.chassis.errors import ProblemError
from stack.migrate import ROOT, SERVICES

HEAD = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>tradefleet: problem types</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/problems.css">
<h1>Problem types</h1>
<p>Every error is <code>application/problem+json</code> with one of these types, the invalid fields in
<code>errors</code>, and the <code>request_id</code> that is in our logs. Retry: the same request may succeed after
the seconds in <code>Retry-After</code>. The operations are documented at <a href="/docs">/docs</a>.</p>
<main><table>
<tr><th>type<th>status<th>title and condition<th>retry
"""


@dataclass(frozen=True)
class ListedProblem:
    """A problem type, as a row of the list."""

    type: str
    status: int
    title: str
    when: str
    retry: str
    origin: str


def list_problems() -> list[ListedProblem]:
    """Return all problem types, ordered by status."""
    return [
        ListedProblem(
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
    """Return the classes of chassis and services that define a `type`, without subclasses that inherit it."""
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
    """Return the service that defines it, or `all`."""
    parts = error.__module__.split(".")
    return parts[1] if parts[0] == "services" else "all"


def problems_page() -> str:
    """Return the page. Each problem's anchor is its type."""
    rows = (
        f'<tr id="{each.type}"><td><code>/problems/{each.type}</code><td>{each.status}'
        f"<td>{escape(each.title)}<br>{_with_code(each.when)}<td>{each.retry}\n"
        for each in list_problems()
    )
    return f"{HEAD}{''.join(rows)}</table></main>\n</html>\n"


def _with_code(text: str) -> str:
    """Convert Markdown code spans to HTML."""
    return re.sub(r"`([^`]*)`", r"<code>\1</code>", escape(text))
