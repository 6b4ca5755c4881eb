"""docs/asyncapi.json is valid by AsyncAPI's own schema, and matches the code and the messages."""

import ast
import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from click.testing import CliRunner

from cli.asyncapi import FILE, asyncapi_command, describe
from shared.contracts.catalog import EVENTS
from shared.contracts.envelope import Message
from shared.contracts.market import CandleClosed
from shared.contracts.trading import TradeClosed
from stack.migrate import ROOT, SERVICES
from stack.topic_clients import READ_BY_ALL, READS, receivers
from stack.topics import topics_of
from tests.contracts.golden import first_file, read

SPECIFICATION = Path(__file__).parent / "asyncapi" / "3.0.0.json.gz"
DOCUMENT: dict[str, Any] = describe()


def faults_of(document: dict[str, Any]) -> list[str]:
    schema = json.loads(gzip.decompress(SPECIFICATION.read_bytes()))
    return [error.message[:200] for error in jsonschema_rs.Draft7Validator(schema).iter_errors(document)]


def test_the_document_is_valid_asyncapi() -> None:
    assert faults_of(DOCUMENT) == []


@pytest.mark.parametrize(
    "change",
    [
        {"asyncapi": "2.6.0"},
        {"channels": {"x": {"address": 1}}},
        {"operations": {"x": {"action": "shout", "channel": {"$ref": "#/channels/trade.closed"}}}},
    ],
)
def test_an_invalid_document_is_found(change: dict[str, Any]) -> None:
    assert faults_of({**DOCUMENT, **change})


def test_every_reference_can_be_resolved() -> None:
    for reference in _references(DOCUMENT):
        found: Any = DOCUMENT
        for step in reference.removeprefix("#/").split("/"):
            found = found[step]


def _references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(reference := part.get("$ref"), str):
            yield reference
        for each in part.values():
            yield from _references(each)
    elif isinstance(part, list):
        for each in part:
            yield from _references(each)


def test_its_channels_are_the_topics_that_are_created() -> None:
    documented = {
        binding["topic"]: (binding["partitions"], binding["topicConfiguration"])
        for channel in DOCUMENT["channels"].values()
        for binding in [channel["bindings"]["kafka"]]
    }
    assert {name: partitions for name, (partitions, _) in documented.items()} == {
        topic.name: topic.partitions for topic in topics_of()
    }
    for topic in topics_of():
        configuration = documented[topic.name][1]
        assert configuration["cleanup.policy"] == [topic.settings["cleanup.policy"]]
        assert str(configuration.get("retention.ms", "")) == topic.settings.get("retention.ms", "")


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.topic)
def test_the_golden_message_matches_its_schema(event: type[Message]) -> None:
    golden = read(first_file(event))
    message = DOCUMENT["components"]["messages"][event.__name__]
    payload = {**message["payload"], "components": DOCUMENT["components"]}
    for schema, content in ((message["headers"], golden.headers), (payload, json.loads(golden.value))):
        assert [error.message for error in jsonschema_rs.validator_for(schema).iter_errors(content)] == []
    assert set(message["headers"]["properties"]) == set(golden.headers)


def test_the_receivers_of_an_event_are_documented() -> None:
    assert receivers(TradeClosed) == ["billing", "analytics", "notifications"]
    assert receivers(CandleClosed) == ["trading", "analytics", "notifications"]
    operation = DOCUMENT["operations"]["billing.receive.trade.closed"]
    assert (operation["action"], operation["channel"]) == ("receive", {"$ref": "#/channels/trade.closed"})


def test_every_reader_without_an_inbox_is_in_the_table() -> None:
    found = {service: set(_read_directly(ROOT / "services" / service)) for service in SERVICES}
    documented = {service: {event.__name__ for event in READS.get(service, ())} for service in SERVICES}
    assert found == documented
    assert set(_read_directly(ROOT / "shared" / "chassis")) == {event.__name__ for event in READ_BY_ALL}


def _read_directly(folder: Path) -> Iterator[str]:
    """Yield the events named in calls that read a topic without the inbox of a group."""
    names = {event.__name__ for event in EVENTS}
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (
                "MarketEventHandler",
                "PartitionReader",
            ):
                yield from (
                    inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id in names
                )


def test_the_file_is_current() -> None:
    done = CliRunner().invoke(asyncapi_command, ["--check"])
    assert (done.exit_code, done.output) == (0, "")


def test_a_stale_file_is_found(tmp_path: Path) -> None:
    stale = tmp_path / "asyncapi.json"
    stale.write_text(FILE.read_text().replace("trade.closed", "trade.shut"))
    done = CliRunner().invoke(asyncapi_command, ["--check", "--output", str(stale)])
    assert (done.exit_code, "stale" in done.stderr) == (1, True)
