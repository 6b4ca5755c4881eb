"""Where Kafka and Java are taken from; an unusable source is one line."""

import socket
from pathlib import Path

import pytest

from stack import kafka
from stack.failure import BadInput


@pytest.fixture(autouse=True)
def nothing_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_BOOTSTRAP", "KAFKA_HOME", "JAVA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_a_running_broker_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        monkeypatch.setenv("KAFKA_BOOTSTRAP", f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(BadInput, match="nothing answers there"):
            kafka.check()
        silent.listen()
        kafka.check()


def test_an_unpacked_kafka_without_jars_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="no jars"):
        kafka.check()


def test_the_jars_of_an_unpacked_kafka_are_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    jar = tmp_path / "libs" / "kafka.jar"
    jar.parent.mkdir()
    jar.touch()
    monkeypatch.setenv("KAFKA_HOME", str(tmp_path))
    assert kafka.jars() == [jar]


def test_a_changed_jar_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = tmp_path / "tradefleet" / "kafka"
    cache.mkdir(parents=True)
    for line in kafka.CHECKSUMS.read_text().splitlines():
        (cache / line.split()[1]).write_bytes(b"something else")
    monkeypatch.setenv("TRADEFLEET_CACHE", str(tmp_path))
    with pytest.raises(BadInput, match="has the wrong checksum"):
        kafka.check()


def test_a_java_home_without_java_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(BadInput, match="no bin/java"):
        kafka.java()


def test_the_hint_about_kafka_sources_is_one_line() -> None:
    assert "\n" not in kafka.SOURCES_HINT
    assert all(way in kafka.SOURCES_HINT for way in ("network", "KAFKA_HOME", "KAFKA_BOOTSTRAP"))


def test_a_cluster_id_is_never_read_as_an_option() -> None:
    assert not any(kafka.new_cluster_id().startswith("-") for _ in range(2_000))


def test_a_broker_uses_the_archive_of_its_classes_once_there_is_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jars = kafka.jars()
    monkeypatch.setenv("TRADEFLEET_CACHE", str(tmp_path))
    archive = kafka.class_archive()
    assert archive is not None
    archive.parent.mkdir(parents=True)
    for jar in jars:
        (archive.parent / jar.name).symlink_to(jar)
    server, use = kafka.KafkaServer(tmp_path, 1, 2), f"-XX:AOTCache={archive}"
    assert use not in server.command()
    archive.touch()
    assert use in server.command()
    monkeypatch.setenv("JAVA_HOME", str(kafka.java().parents[1]))
    assert use not in server.command()
