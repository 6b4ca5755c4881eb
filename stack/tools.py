"""Programs installed from wheels: dbmate, caddy."""

import sysconfig
from pathlib import Path

from stack.failure import BadInput


def find_tool(name: str) -> Path:
    """Return the path of a program installed by pip. Raises BadInput if it is missing."""
    found = Path(sysconfig.get_path("scripts")) / name
    if not found.exists():
        raise BadInput(f"{name} is missing: install the package {name}-bin (make install)")
    return found
