"""The wording of the code, as far as a machine can see it: patterns of docstrings, comments and pages, and what to
write instead."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

# Each: what is found, and what to write instead.
PATTERNS = {
    r"^What (?:is|are|was|a|an|the|of|to)\b": "a sentence: 'Return the …', or a noun: 'The …'",
    r"\b(?:he|him|his|himself)\b": "they, the caller, the tenant, the worker",
    r"\b(?:[Ww]hoever|[Ss]omebody|[Ww]homever)\b": "the caller, the tenant, a client",
    r"\b(?:told|telling)\b": "notify, publish, show",
    r"\b(?:hears?|heard|hearing)\b": "consume, receive, handle",
    r"\bsaid\b": "published, answered, documented",
    r"\bwish(?:es|ed)?\b": "demand, requested by",
    r"\bforg(?:et|ets|etting|ot|otten)\b": "delete, clean up, expire",
    r"\bgo(?:es)? on\b": "continue",
    r"\b(?:by and by|all the same|anew|none the less|thereof)\b": "plain current English",
    r"\bthat there (?:is|are) (?!a\b|an\b|no\b|few\b)": "'every command', not 'every command that there is'",
}
CODE = re.compile(r"`[^`]*`|```.*?```", re.S)


def faults_of(path: str, text: str) -> list[str]:
    """Each as `path:line: found; write: instead`."""
    passages = _passages(text) if path.endswith(".py") else _paragraphs(text)
    return [
        f"{path}:{line}: {found.group()!r}; write: {instead}"
        for line, passage in passages
        for pattern, instead in PATTERNS.items()
        for found in re.finditer(pattern, CODE.sub("`", passage))
    ]


def _passages(source: str) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string.lstrip("# ")


def _paragraphs(page: str) -> Iterator[tuple[int, str]]:
    without_code = re.sub(r"```.*?```", lambda block: "\n" * block.group().count("\n"), page, flags=re.S)
    yield from enumerate(without_code.splitlines(), start=1)


def read(root: Path, folders: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Path and text of every module and page below these folders."""
    for folder in folders:
        for file in sorted((root / folder).rglob("*")):
            if file.suffix in (".py", ".md"):
                yield str(file.relative_to(root)), file.read_text()
