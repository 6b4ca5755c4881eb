"""Removes what a stack kept, also what lies outside its folder."""

import shutil
from pathlib import Path

from stack.postgres import outside_data_folder


def remove_home(home: Path) -> None:
    """The stack must not run any more."""
    shutil.rmtree(outside_data_folder(home), ignore_errors=True)
    shutil.rmtree(home, ignore_errors=True)
