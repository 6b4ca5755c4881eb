"""A stack's folder: its secrets, its logs, and the note of what runs."""

import json
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil
from filelock import FileLock, Timeout
from pydantic import TypeAdapter

from cli.failure import BadInput
from shared.chassis.events.broker_access import KafkaAccess
from stack.migrate import SERVICES, new_passwords
from stack.private_files import make_private_folder, write_private
from stack.service_keys import make_service_keys, new_private_key
from stack.users import server_user

DEFAULT_HOME = Path(".tradefleet") / "up"
END_TIMEOUT_S = 5.0


@dataclass
class Secrets:
    """Made once per home, readable by its owner only."""

    superuser: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    roles: dict[str, str] = field(default_factory=new_passwords)
    kafka_admin: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    kafka: dict[str, str] = field(default_factory=lambda: {name: secrets.token_urlsafe(32) for name in SERVICES})


@dataclass
class ProcessNote:
    name: str
    pid: int
    started: float  # with the pid it names one process for ever


@dataclass
class State:
    """What `tradefleet status` tells, and what the next start cleans up."""

    supervisor: ProcessNote
    gateway: str = ""
    services: dict[str, str] = field(default_factory=dict)
    postgres: str = ""
    billing: str = ""
    candles: str = ""  # the role that keeps them
    analytics: str = ""
    auth: str = ""
    auth_app: str = ""
    trading: str = ""
    queues: dict[str, str] = field(default_factory=dict)
    kafka: str = ""
    kafka_login: dict[str, str | None] = field(default_factory=dict)  # the operator's: see login_of()
    topic_prefix: str = ""
    sandbox: str = ""
    health: dict[str, str] = field(default_factory=dict)
    processes: list[ProcessNote] = field(default_factory=list)

    @property
    def kafka_access(self) -> KafkaAccess:
        """As the operator."""
        return _LOGIN.validate_python({**self.kafka_login, "bootstrap": self.kafka})


_LOGIN = TypeAdapter(KafkaAccess)


def login_of(access: KafkaAccess) -> dict[str, str | None]:
    """As State keeps it."""
    login: dict[str, str | None] = _LOGIN.dump_python(access, mode="json")
    return login


def without_login(dsn: str) -> str:
    """A DSN with neither user nor password."""
    scheme, separator, rest = dsn.partition("://")
    return scheme + separator + rest.rpartition("@")[2]


class Home:
    """`with Home(path):` holds it, so that no second stack starts in it."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.logs = self.path / "logs"
        self._lock = FileLock(self.path / "lock")

    def __enter__(self) -> "Home":
        self._close_to_others()
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise BadInput(f"a stack runs in {self.path} already; see `tradefleet status`") from None
        self._clean_up()
        return self

    def __exit__(self, *_: object) -> None:
        self._state_file.unlink(missing_ok=True)
        self._lock.release()

    def _close_to_others(self) -> None:
        """Only their owner lists or reads the home and the logs, those of an earlier version too.

        Where Postgres runs as another user, that user may walk through the home to the cluster in it.
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
        """Auth's private key; made when it is not there."""
        file = self.path / "signing-key.pem"
        if not file.exists():
            write_private(file, new_private_key())
        return file

    @property
    def signing_keys(self) -> Path:
        """Where the keys that follow it are put, each named by when it begins to sign."""
        folder = self.path / "signing-keys"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    @property
    def service_keys(self) -> Path:
        """The folder of the keys with which services call one another; made when they are not there."""
        folder = self.path / "service-keys"
        make_service_keys(folder, SERVICES)
        return folder

    def secrets(self) -> Secrets:
        """What an earlier version did not have is made."""
        file = self.path / "secrets.json"
        known = json.loads(file.read_text()) if file.exists() else {}
        found = Secrets(**{name: known[name] for name in Secrets.__dataclass_fields__ if name in known})
        if asdict(found) != known:
            write_private(file, json.dumps(asdict(found)).encode())
        return found

    def write_state(self, state: State) -> None:
        write_private(self._state_file, json.dumps(asdict(state), indent=1).encode())

    def _clean_up(self) -> None:
        """End what a killed stack left behind, and nothing else: a pid alone might be somebody else's by now."""
        state = read_state(self.path)
        if state is not None:
            end_processes([process for note in state.processes if (process := running(note))])


def read_state(home: Path) -> State | None:
    """What was noted last in this home; None where nothing is."""
    try:
        raw = json.loads((home / "state.json").read_text())
        raw["supervisor"] = ProcessNote(**raw["supervisor"])
        raw["processes"] = [ProcessNote(**note) for note in raw["processes"]]
        return State(**raw)
    except (OSError, ValueError, TypeError, KeyError):
        return None


def running(note: ProcessNote) -> psutil.Process | None:
    """The very process that was noted, if it still runs."""
    try:
        process = psutil.Process(note.pid)
        same = _started(note.pid) == note.started and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return None
    return process if same else None


def note_of(name: str, pid: int) -> ProcessNote | None:
    """None when it has ended already."""
    try:
        return ProcessNote(name, pid, _started(pid))
    except psutil.NoSuchProcess:
        return None


def _started(pid: int) -> float:
    """In ticks since the boot where the system says so: a date moves when the clock is set."""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
        return float(after_name.split()[19])  # starttime, the 22nd field
    except OSError:
        return psutil.Process(pid).create_time()


def end_processes(processes: list[psutil.Process]) -> None:
    """SIGTERM, and SIGKILL for what does not go; children too."""
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
