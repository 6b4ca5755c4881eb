"""Whom a server runs as: Postgres refuses to run as root."""

import os
import pwd
from pathlib import Path

from cli.failure import BadInput

UNPRIVILEGED = ("postgres", "nobody")


def server_user() -> pwd.struct_passwd | None:
    """None when we are an ordinary user ourselves; else the unprivileged one for Postgres. Raises BadInput."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BadInput(
        f"Postgres does not run as root, and none of the users {', '.join(UNPRIVILEGED)} exists: "
        "start as an ordinary user, or make a user named postgres"
    )


def own(path: Path, user: pwd.struct_passwd | None) -> None:
    """Hand a folder or file over, if there is somebody to hand it to."""
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def is_reachable(path: Path) -> bool:
    """Whether any user can walk to this folder."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])
