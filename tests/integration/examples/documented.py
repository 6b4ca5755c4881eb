"""The operations of the OpenAPI document with their examples, and a comparison of a real answer with its
example."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jsonschema_rs

from stack.reference.document import platform_document

Json = dict[str, Any]  # Any: JSON
DOCUMENT = cast(Json, platform_document())
NOTHING = object()


@dataclass(frozen=True)
class Documented:
    """`body` and `answer` are media types of the document; None if the operation takes or returns none."""

    method: str
    path: str
    status: int
    media: str
    body: Json | None
    answer: Json | None
    query: Mapping[str, str]

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_list(self) -> bool:
        return self.media == "application/json" and "items" in self.example

    @property
    def example(self) -> Any:  # Any: JSON
        """Return the example of the answer."""
        return (self.answer or {}).get("example")

    def faults_of_examples(self) -> Iterator[str]:
        for name, shown in (("body", self.body), ("answer", self.answer)):
            if shown is None:
                continue
            if shown.get("example", "") == "":
                yield f"its {name} has no example"
            elif self.media == "application/json" or name == "body":
                yield from (
                    f"the example of its {name}: {fault}" for fault in invalid(shown["schema"], shown["example"])
                )

    def faults_of(self, text: str) -> Iterator[str]:
        """Yield each difference between this answer and the documented one."""
        if self.answer is None:
            if text:
                yield f"answers {text[:100]}"
        elif self.media == "text/csv":
            if text.splitlines()[:1] != self.example.splitlines()[:1] or len(text.splitlines()) < 2:
                yield f"answers {text[:300]}"
        elif self.media == "text/event-stream":
            yield from self._faults_of_events(text)
        else:
            shown = json.loads(text)
            yield from invalid(self.answer["schema"], shown)
            yield from differences("$", self.answer["schema"], self.example, shown)
            if self.is_list and not shown["items"]:
                yield "lists nothing"

    def _faults_of_events(self, text: str) -> Iterator[str]:
        assert self.answer is not None, "a stream answers"
        of_name = {each["properties"]["event"]["const"]: each for each in self.answer["schema"]["anyOf"]}
        examples = dict(events(self.example))
        if not (sent := events(text)):
            yield "sends nothing"
        for name, data in sent:
            schema = of_name[name]["properties"]["data"]["contentSchema"]
            yield from invalid(schema, data)
            yield from differences(f"{name}: $", schema, examples[name], data)


def documented() -> list[Documented]:
    return [
        _read(method, path, operation)
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
    ]


def _read(method: str, path: str, operation: Json) -> Documented:
    status = next(status for status in operation["responses"] if status < "300")
    content = operation["responses"][status].get("content", {})
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    query = {
        each["name"]: each["example"]
        for each in operation["parameters"]
        if each["in"] == "query" and each["required"]
    }
    return Documented(
        method.upper(), path, int(status), next(iter(content), ""), body, next(iter(content.values()), None), query
    )


def events(text: str) -> list[tuple[str, Json]]:
    """Return the names and data of a stream's events."""
    found = re.findall(r"^event: (\w+)\ndata: (.*)$", text, re.MULTILINE)
    return [(name, json.loads(data)) for name, data in found]


def invalid(schema: Json, value: object) -> Iterator[str]:
    validator = jsonschema_rs.validator_for({**schema, "components": DOCUMENT["components"]}, validate_formats=True)
    yield from (f"{error.instance_path}: {error.message}" for error in validator.iter_errors(value))


def differences(path: str, schema: Json, example: object, shown: object) -> Iterator[str]:
    """Yield keys that differ, and values of another JSON type.

    Null stands for a value that does not exist yet: the schema says where it is allowed. The keys of a mapping are
    the user's own.
    """
    schema = _resolve(schema)
    if example is None or shown is None:
        return
    if _kind(example) != _kind(shown):
        yield f"{path}: {_kind(shown)}, in the example {_kind(example)}"
    elif isinstance(example, dict) and isinstance(shown, dict) and "properties" in schema:
        if set(example) != set(shown):
            yield f"{path}: has {sorted(shown)}, in the example {sorted(example)}"
        for name in set(example) & set(shown):
            yield from differences(f"{path}.{name}", schema["properties"][name], example[name], shown[name])
    elif isinstance(example, Sequence) and isinstance(shown, list):
        for index, each in enumerate(shown):
            if not example:
                yield f"{path}: holds something, in the example nothing"
            else:
                yield from differences(f"{path}[{index}]", schema.get("items", {}), example[0], each)


def _resolve(schema: Json) -> Json:
    alternatives = [each for each in schema.get("anyOf", ()) if each.get("type") != "null"]
    if len(alternatives) == 1:
        return _resolve(alternatives[0])
    if "$ref" in schema:
        return cast(Json, DOCUMENT["components"]["schemas"][schema["$ref"].rpartition("/")[2]])
    return schema


def _kind(value: object) -> str:
    match value:
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
