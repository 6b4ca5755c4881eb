"""The evaluator's version: part of the key of a stored result, so that a release never reuses another's results."""

import hashlib
from functools import cache
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import shared.statistics
import shared.strategy

NUMERIC = ("TA-Lib", "numba", "numpy")


@cache
def evaluator_version() -> str:
    """Hash the evaluator's source and its numeric libraries, so that no version number has to be raised by hand."""
    digest = hashlib.sha256()
    for library in NUMERIC:
        digest.update(f"{library} {version(library)}\n".encode())
    folders = (sorted(Path(folder).rglob("*.py")) for folder in shared.strategy.__path__)
    for file in (Path(shared.statistics.__file__), *chain.from_iterable(folders)):
        digest.update(file.name.encode() + b"\n" + file.read_bytes())
    return digest.hexdigest()[:16]
