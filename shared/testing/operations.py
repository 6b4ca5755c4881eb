"""The operations of an OpenAPI document, so that tests and the demo try new routes as well."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.contracts.types import AMOUNT_PATTERN
from shared.testing.api_client import Json

Schema: TypeAlias = Mapping[str, Any]  # Any: JSON Schema
UNKNOWN_ID = "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21"


@dataclass(frozen=True)
class Field:
    """A field of a body or a query string. `kind` is its type, or more exactly its format."""

    name: str
    schema: Schema
    required: bool
    nullable: bool

    @property
    def kind(self) -> str:
        schema = self.schema
        if "enum" in schema or "const" in schema:
            return "choice"
        if schema.get("pattern") == AMOUNT_PATTERN:
            return "amount"
        return str(schema.get("format", schema.get("type", "")))


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    public: bool
    body_required: bool
    body: tuple[Field, ...] | None  # None: the operation takes no body; empty: any object
    query: tuple[Field, ...]

    @property
    def label(self) -> str:
        return f"{self.method} {self.path}"


def read_operations(document: Json) -> list[Operation]:
    schemas = document["components"]["schemas"]
    return [
        Operation(
            method.upper(),
            path,
            described["security"] == [],
            bool(described.get("requestBody", {}).get("required")),
            _body_fields(described["requestBody"], schemas) if "requestBody" in described else None,
            tuple(
                _field(each["name"], each["schema"], schemas, bool(each["required"]))
                for each in described["parameters"]
                if each["in"] == "query"
            ),
        )
        for path, methods in document["paths"].items()
        for method, described in methods.items()
    ]


def _body_fields(request: Json, schemas: Mapping[str, Json]) -> tuple[Field, ...]:
    schema = _resolve(request["content"]["application/json"]["schema"], schemas)
    required = schema.get("required", [])
    return tuple(
        _field(name, each, schemas, name in required) for name, each in schema.get("properties", {}).items()
    )


def _field(name: str, schema: Schema, schemas: Mapping[str, Json], required: bool) -> Field:
    options = [_resolve(each, schemas) for each in schema.get("anyOf", [schema])]
    kinds = [each for each in options if each.get("type") != "null"]
    return Field(name, kinds[-1], required, len(kinds) < len(options))


def _resolve(schema: Schema, schemas: Mapping[str, Json]) -> Schema:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if isinstance(reference, str) else schema
