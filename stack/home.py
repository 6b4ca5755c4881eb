"""A stack's home folder: its secrets, its logs and the record of its running processes."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from services.trading.custody.key_ring import new_ring
from shared.chassis.clock import utc_now
from shared.chassis.events.broker_access import KafkaAccess
from stack.failure import BadInput
from stack.migrate import SERVICES, new_passwords
from stack.private_files import make_private_folder, write_private
from stack.service_keys import make_service_keys, new_private_key
from stack.users import server_user

DEFAULT_HOME = Path(".tradefleet") / "up"
END_TIMEOUT_S = 5.0


@dataclass
class Secrets:
    """Generated once per home; only the owner can read them."""

    superuser: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    roles: dict[str, str] = field(default_factory=new_passwords)
    kafka_admin: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    kafka: dict[str, str] = field(default_factory=lambda: {name: secrets.token_urlsafe(32) for name in SERVICES})


@dataclass
class ProcessRecord:
    name: str
    pid: int
    started: float  # together with the pid this identifies a process uniquely


@dataclass
class State:
    """What `tradefleet status` shows and what the next start cleans up."""

    supervisor: ProcessRecord
    gateway: str = ""
    services: dict[str, str] = field(default_factory=dict)
    postgres: str = ""
    billing: str = ""
    candles: str = ""  # DSN of the role that owns stored candles
    analytics: str = ""
    auth: str = ""
    auth_app: str = ""
    trading: str = ""
    exchange_keys: str = ""  # the file of the key ring
    queues: dict[str, str] = field(default_factory=dict)
    kafka: str = ""
    kafka_login: dict[str, str | None] = field(default_factory=dict)  # the operator's: see login_json()
    topic_prefix: str = ""
    sandbox: str = ""
    health: dict[str, str] = field(default_factory=dict)
    processes: list[ProcessRecord] = field(default_factory=list)

    @property
    def kafka_access(self) -> KafkaAccess:
        """Kafka with the operator's login."""
        return _LOGIN.validate_python({**self.kafka_login, "bootstrap": self.kafka})


_LOGIN = TypeAdapter(KafkaAccess)


def login_json(access: KafkaAccess) -> dict[str, str | None]:
    """Return the login as `State` stores it."""
    login: dict[str, str | None] = _LOGIN.dump_python(access, mode="json")
    return login


def strip_login(dsn: str) -> str:
    """Return the DSN without user and password."""
    scheme, separator, rest = dsn.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


class Home:
    """`with Home(path):` locks the folder, so that no second stack starts in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._lock = FileLock(self.path / "lock")

    def __enter__(self) -> "Home":
        self._restrict_access()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(f"a stack is already running in {self.path}; see `tradefleet status`") from None
        self._clean_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._state_file.unlink(missing_ok=True)
        self._lock.release()

    def _restrict_access(self) -> None:
        """Make the home and the logs accessible to their owner only, including logs of an earlier version.

        If Postgres runs as another user, that user may traverse the home to reach its cluster.
        """
        make_private_folder(self.logs)
        self.path.chmod(0o700 if server_user() is None else 0o711)
        for log in self.logs.iterdir():
            log.chmod(0o600)

    @property
    def _state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def signing_key(self) -> Path:
        """Auth's private key; created if missing."""
        file = self.path / "signing-key.pem"
        if not file.exists():
            write_private(file, new_private_key())
        return file

    @property
    def signing_keys(self) -> Path:
        """Folder for the next signing keys; each file is named by the time from which it signs."""
        folder = self.path / "signing-keys"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def service_keys(self) -> Path:
        """Folder of the keys that authenticate calls between services; created if missing."""
        folder = self.path / "service-keys"
        make_service_keys(folder, SERVICES)
        return folder

    @property
    def exchange_keys(self) -> Path:
        """The key ring that encrypts exchange keys; created if missing."""
        file = self.path / "exchange-keys.json"
        if not file.exists():
            write_private(file, new_ring(utc_now()).to_json(), durable=True)
        return file

    def secrets(self) -> Secrets:
        """Return the secrets; generate those that are missing, as in a home of an earlier version."""
        file = self.path / "secrets.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        found = Secrets(**{name: known[name] for name in Secrets.__dataclass_fields__ if name in known})
        if asdict(found) != known:
            write_private(file, json.dumps(asdict(found)).encode())
        return found

    def write_state(self, state: State) -> None:
        write_private(self._state_file, json.dumps(asdict(state), indent=1).encode())

    def _clean_up(self) -> None:
        """End the processes of a killed stack. Checks the start time, as a pid alone may have been reused."""
        state = read_state(self.path)
        if state is not None:
            end_processes([process for record in state.processes if (process := find_process(record))])


def read_state(home: Path) -> State | None:
    """Return the last state written in this home; None if there is none or it cannot be read."""
    try:
        raw = json.loads((home / "state.json").read_text())
        raw["supervisor"] = ProcessRecord(**raw["supervisor"])
        raw["processes"] = [ProcessRecord(**record) for record in raw["processes"]]
        return State(**raw)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def find_process(record: ProcessRecord) -> psutil.Process | None:
    """Return the recorded process; None if it no longer runs."""
    try:
        process = psutil.Process(record.pid)
        same = _start_time(record.pid) == record.started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def find_process_record(name: str, pid: int) -> ProcessRecord | None:
    """Return the record of a process; None if it has already ended."""
    try:
        return ProcessRecord(name, pid, _start_time(pid))
    except psutil.NoSuchProcess:
        return None


def _start_time(pid: int) -> float:
    """Return clock ticks since boot on Linux, else seconds since 1970, which shift when the clock is set."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        return float(after_name.split()[19])  # starttime, the 22nd field
    except OSError:
        return psutil.Process(pid).create_time()


def end_processes(processes: list[psutil.Process]) -> None:
    """Send SIGTERM to the processes and their children, then SIGKILL to those still alive after END_TIMEOUT_S."""
    family = {child for process in processes for child in [process, *_children(process)]}
    for process in family:
        _signal(process, kill=False)
    _, alive = psutil.wait_procs(family, timeout=END_TIMEOUT_S)
    for process in alive:
        _signal(process, kill=True)
    psutil.wait_procs(alive, timeout=END_TIMEOUT_S)


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _signal(process: psutil.Process, *, kill: bool) -> None:
    try:
        if kill:
            process.kill()
        else:
            process.terminate()
    except psutil.NoSuchProcess:
        return
