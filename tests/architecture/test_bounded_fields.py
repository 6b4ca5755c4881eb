"""Every text and list that a client can send is bounded, in bodies and in query strings."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from pydantic import BaseModel

from services.trading.routes.strategies import StrategyBody
from shared.contracts.types import BodyModel
from stack.reference.document import all_endpoints

Schema = Mapping[str, Any]  # Any: JSON
MODELS = sorted(
    {model for each in all_endpoints() for model in (each.body, each.query) if model is not None},
    key=lambda model: model.__name__,
)
BOUNDS = {
    "string": ("maxLength", "pattern", "enum", "const"),
    "array": ("maxItems",),
    "object": ("properties", "propertyNames"),
}
FORMATS = ("uuid", "date-time", "date")
# Free-form objects; each is bounded in bytes by a validator of its own, which has a test.
FREE = {"AlertBody.condition_data", "AlertChanges.condition_data", "ConfigurationBody.config_data"}


def unbounded(model: type[BaseModel]) -> list[str]:
    """Return the fields without a bound, as `Model.field`."""
    schema = model.model_json_schema()
    return [where for where in _walk(model.__name__, schema, schema) if where.removesuffix("[]") not in FREE]


def _walk(where: str, part: Schema, whole: Schema) -> Iterator[str]:
    if "$ref" in part:
        part = whole["$defs"][part["$ref"].rpartition("/")[2]]
    for option in (*part.get("anyOf", ()), *part.get("oneOf", ()), *part.get("allOf", ())):
        yield from _walk(where, option, whole)
    kind = part.get("type")
    if kind in BOUNDS and part.get("format") not in FORMATS and not any(name in part for name in BOUNDS[kind]):
        yield where
    for name, field in part.get("properties", {}).items():
        yield from _walk(f"{where}.{name}", field, whole)
    for inner in ("items", "additionalProperties"):
        if isinstance(part.get(inner), dict):
            yield from _walk(f"{where}[]", part[inner], whole)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_text_and_list_of_a_request_has_a_bound(model: type[BaseModel]) -> None:
    if model is not StrategyBody:  # a document with rules of its own: docs/strategy.md
        assert unbounded(model) == []


class _Unbounded(BodyModel):
    name: str
    tags: list[str]
    more: dict[str, str] | None
    number: int


def test_fields_without_a_bound_are_found() -> None:
    found = ["_Unbounded.name", "_Unbounded.tags", "_Unbounded.tags[]", "_Unbounded.more", "_Unbounded.more[]"]
    assert unbounded(_Unbounded) == found
