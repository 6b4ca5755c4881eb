"""Code rules as functions from a source text to its faults; tested in test_rules.py."""

import ast
import re
from collections.abc import Iterator, Mapping

LONGEST_FUNCTION = 70
LONGEST_FILE = 500
LONGEST_TEST_FILE = 600
UNFINISHED = re.compile(
    r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|simplified for now|not implemented", re.I
)
DRAWERS = ("utils", "helpers", "common", "manager", "base")
# What the modules of a folder may import, besides themselves and PURE.
PURE = (
    *("bisect", "collections", "dataclasses", "datetime", "decimal", "enum", "functools", "itertools", "re"),
    *("types", "typing", "uuid", "shared.contracts", "shared.strategy"),
)
IMPORTS: Mapping[str, tuple[str, ...]] = {
    "sandbox/bybit/exchange": (),
    "services/trading/orders": (
        *("asyncio", "base64", "hashlib", "structlog", "prometheus_client", "services.trading.exchange.venue"),
        *("shared.chassis.crash_points", "shared.chassis.infrastructure_faults"),
    ),
}
STATISTICS = ("services/analytics/statistics.py",)
BROAD_EXCEPT = ("shared/chassis/events/inbox.py", "shared/chassis/http/app.py")


def faults_of(path: str, source: str) -> Iterator[str]:
    """Yield every rule that this file breaks."""
    tree = ast.parse(source)
    is_test = path.startswith("tests/")
    lines = source.count("\n")
    if lines > (LONGEST_TEST_FILE if is_test else LONGEST_FILE):
        yield f"{path}: {lines} lines"
    if path.rsplit("/", 1)[-1].removesuffix(".py") in DRAWERS:
        yield f"{path}: a drawer, not a name"
    for number, line in enumerate(source.splitlines(), 1):
        if UNFINISHED.search(line) and not path.startswith("tests/architecture/"):
            yield f"{path}:{number}: unfinished"
    for node in ast.walk(tree):
        yield from _long(path, node)
        if not is_test:
            yield from _forbidden(path, node)
            yield from _imported(path, node)


def _long(path: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
        lines = node.end_lineno - node.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{path}:{node.lineno}: {node.name} has {lines} lines"


def _imported(path: str, node: ast.AST) -> Iterator[str]:
    allowed = IMPORTS.get(path.rpartition("/")[0])
    if allowed is None or not isinstance(node, ast.Import | ast.ImportFrom):
        return
    own = path.rpartition("/")[0].replace("/", ".")
    names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
    for name in names:
        if not any(name == each or name.startswith(f"{each}.") for each in (own, *PURE, *allowed)):
            yield f"{path}:{node.lineno}: imports {name}"


def _is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (isinstance(handler.type, ast.Name) and handler.type.id == "Exception")


def _forbidden(path: str, node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.ExceptHandler) and path not in BROAD_EXCEPT and _is_broad(node):
        yield f"{path}:{node.lineno}: swallows everything"
    if not isinstance(node, ast.Call):
        return
    in_money = path.startswith(("services/", "shared/contracts/")) and path not in STATISTICS
    if in_money and isinstance(node.func, ast.Name) and node.func.id == "float":
        yield f"{path}:{node.lineno}: float("
    called = node.func
    if (
        isinstance(called, ast.Attribute)
        and called.attr in ("now", "utcnow", "today")
        and isinstance(called.value, ast.Name)
        and called.value.id in ("datetime", "date")
        and path != "shared/chassis/clock.py"
    ):
        yield f"{path}:{node.lineno}: asks the time"
