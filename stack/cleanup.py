"""Removal of all files of a stack, including those outside its home."""

import shutil
from pathlib import Path

from stack.postgres import outside_data_folder


def remove_home(home: Path) -> None:
    """Delete the home and its external data folder. The stack must be stopped."""
    shutil.rmtree(outside_data_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
