"""Folders and files that only their owner can read."""

import os
from pathlib import Path


def make_private_folder(folder: Path) -> None:
    """Create a folder and its parents, or restrict an existing folder to its owner."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)


def make_private_file(file: Path) -> Path:
    """Create a file or restrict an existing one to its owner; returns the path."""
    file.touch(mode=0o600)
    file.chmod(0o600)
    return file


def write_private(file: Path, content: bytes, *, durable: bool = False) -> None:
    """Write the file atomically; if `durable`, so that it outlives a power cut."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as opened:
        opened.write(content)
        if durable:
            opened.flush()
            os.fsync(opened.fileno())
    partial.replace(file)
    if durable:
        folder = os.open(file.parent, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)
