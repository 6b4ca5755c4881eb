"""`tradefleet asyncapi`: one AsyncAPI file for all topics, generated from contracts and event handlers."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from cli.options import OneLineCommand
from shared.contracts.catalog import EVENTS, HALTING
from shared.contracts.envelope import Event, Message
from shared.contracts.market import MarketInterest
from shared.contracts.types import Instant
from stack.failure import CheckFailed
from stack.migrate import ROOT
from stack.topic_clients import dead_letter_senders, receivers, senders
from stack.topics import DEAD_LETTER_RETENTION, retention_settings, topic_settings

FILE = ROOT / "docs" / "asyncapi.json"
KAFKA = "0.5.0"  # the version of AsyncAPI's binding


@click.command("asyncapi", cls=OneLineCommand)
@click.option("--check", is_flag=True, help="Fail if the file is out of date.")
@click.option("--output", type=click.Path(path_type=Path), default=FILE, show_default=True)
def asyncapi_command(check: bool, output: Path) -> None:
    """Write the AsyncAPI file of all events."""
    text = json.dumps(describe(), indent=1) + "\n"
    if check:
        if not output.exists() or output.read_text() != text:
            raise CheckFailed(f"{output} is stale: run `tradefleet asyncapi`")
        return
    output.write_text(text)
    click.echo(f"wrote {output}")


def describe() -> dict[str, Any]:
    """Return the whole document."""
    _, schemas = models_json_schema(
        [(event, "serialization") for event in EVENTS], ref_template="#/components/schemas/{model}"
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "tradefleet",
            "version": "1",
            "description": "The events that the services publish. The rules are in docs/events.md.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {name: channel for event in EVENTS for name, channel in _channels(event)},
        "operations": {name: operation for event in EVENTS for name, operation in _operations(event)},
        "components": {
            "messages": {
                **{event.__name__: _message(event) for event in EVENTS},
                "DeadLetter": _dead_letter(),
            },
            "schemas": schemas["$defs"],
        },
    }


def _channels(event: type[Message]) -> Iterator[tuple[str, dict[str, Any]]]:
    own = {
        "address": event.topic,
        "description": _guarantees(event),
        "messages": {event.__name__: {"$ref": f"#/components/messages/{event.__name__}"}},
        "bindings": _topic(event.topic, event.partitions, topic_settings(event)),
    }
    if issubclass(event, Event):
        own |= {"x-on-poison": event.on_poison, "x-dead-letters": f"{event.topic}.dlq"}
    yield event.topic, own
    yield (
        f"{event.topic}.dlq",
        {
            "address": f"{event.topic}.dlq",
            "description": f"Messages of {event.topic} that could not be handled, unchanged.",
            "messages": {"DeadLetter": {"$ref": "#/components/messages/DeadLetter"}},
            "bindings": _topic(f"{event.topic}.dlq", 1, retention_settings(DEAD_LETTER_RETENTION)),
        },
    )


def _guarantees(event: type[Message]) -> str:
    retention = "Compacted: the last message of each key is kept." if event.compacted else ""
    retention = retention or f"Retention: {event.retention.days} days."
    if not issubclass(event, Event):
        return (
            f"Facts of the exchange: the same fact has the same ce_id, whichever service publishes it. {retention}"
        )
    effect = "waits for an operator" if event.topic in HALTING else "continues without it"
    return f"Ordered per key. If an event cannot be handled, its key {effect}. {retention}"


def _topic(name: str, partitions: int, settings: Mapping[str, str]) -> dict[str, Any]:
    configuration: dict[str, Any] = {"cleanup.policy": [settings["cleanup.policy"]]}
    if "retention.ms" in settings:
        configuration["retention.ms"] = int(settings["retention.ms"])
    return {
        "kafka": {
            "topic": name,
            "partitions": partitions,
            "topicConfiguration": configuration,
            "bindingVersion": KAFKA,
        }
    }


def _operations(event: type[Message]) -> Iterator[tuple[str, dict[str, Any]]]:
    for service in senders(event):
        yield f"{service}.send.{event.topic}", _operation("send", service, event.topic)
    for service in receivers(event):
        yield f"{service}.receive.{event.topic}", _operation("receive", service, event.topic)
        if service in dead_letter_senders(event):
            yield f"{service}.send.{event.topic}.dlq", _operation("send", service, f"{event.topic}.dlq")


def _operation(action: str, service: str, topic: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "tags": [{"name": service}]}


def _message(event: type[Message]) -> dict[str, Any]:
    return {
        "name": event.topic,
        "title": event.__name__,
        "contentType": "application/json",
        "headers": {
            "type": "object",
            "required": [name for name in _headers(event) if name != "traceparent"],
            "properties": _headers(event),
        },
        "payload": {"$ref": f"#/components/schemas/{event.__name__}"},
        "bindings": {"kafka": {"key": _key(event), "bindingVersion": KAFKA}},
        "tags": [{"name": f"version {event.version}"}],
    }


def _headers(event: type[Message]) -> dict[str, Any]:
    version = 7 if issubclass(event, Event) else 5
    return {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "format": "uuid", "description": f"A UUIDv{version}."},
        "ce_source": {"enum": list(senders(event))},
        "ce_type": {"const": event.topic},
        "ce_time": TypeAdapter(Instant).json_schema(),
        "ce_dataschema": {"const": f"tradefleet:{event.topic}:{event.version}"},
        "content-type": {"const": "application/json"},
        "traceparent": {"type": "string", "description": "W3C trace context of the cause of this event."},
    }


def _key(event: type[Message]) -> dict[str, Any]:
    key = "The user_id of the data."
    if event is MarketInterest:
        key = "wished_by:symbol:interval"
    elif not issubclass(event, Event):
        key = "venue:symbol"
    return {"type": "string", "description": key}


def _dead_letter() -> dict[str, Any]:
    text = {"type": "string"}
    headers = ("dlq_reason", "dlq_group", "dlq_attempts", "dlq_topic", "dlq_partition", "dlq_offset")
    return {
        "name": "dead-letter",
        "title": "DeadLetter",
        "description": "The unchanged message; additional headers give the reason, consumer group and origin.",
        "headers": {"type": "object", "required": list(headers), "properties": dict.fromkeys(headers, text)},
        "payload": {"description": "The original payload."},
        "bindings": {"kafka": {"key": text, "bindingVersion": KAFKA}},
    }
