"""Programs that come in wheels: dbmate, caddy."""

import sysconfig
from pathlib import Path

from cli.failure import BadInput


def tool(name: str) -> Path:
    """Where pip put the program. Raises BadInput."""
    found = Path(sysconfig.get_path("scripts")) / name
    if not found.exists():
        raise BadInput(f"{name} is missing: install the package {name}-bin (make install)")
    return found
