"""The system user that a server runs as: Postgres refuses to run as root."""

import os
import pwd
from pathlib import Path

from stack.failure import BadInput

UNPRIVILEGED = ("postgres", "nobody")


def server_user() -> pwd.struct_passwd | None:
    """Return the unprivileged user for Postgres if we are root, else None. Raises BadInput if none exists."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise BadInput(
        f"Postgres does not run as root, and no user named {' or '.join(UNPRIVILEGED)} exists: "
        "start as an ordinary user, or create a user named postgres"
    )


def change_owner(path: Path, user: pwd.struct_passwd | None) -> None:
    """Make `user` the owner of a folder or file; does nothing if None."""
    if user is not None:
        os.chown(path, user.pw_uid, user.pw_gid)


def is_reachable(path: Path) -> bool:
    """Return whether every user can traverse the path to this folder."""
    return all(parent.stat().st_mode & 0o001 for parent in [path, *path.parents])
