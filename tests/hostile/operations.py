"""The platform's operations, read from its OpenAPI document, so that new routes are attacked as well."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import cast

from shared.chassis.clock import utc_now
from shared.contracts.types import AMOUNT_PATTERN, instant_text
from stack.reference.document import platform_document
from tests.integration.accounts import PASSWORD
from tests.unit.trading.scenes import CROSS

Json = dict[str, object]
Schema = Mapping[str, object]
UNKNOWN_ID = "0190a6f2-7b5e-7c1f-8a52-3d0f9c7e4b21"


@dataclass(frozen=True)
class Field:
    """A field of a body or a query string. `kind` is one of the keys of WRONG in wrong_values.py."""

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

    def sample(self, strategy_id: str) -> Json:
        """Return a body that the operation accepts."""
        if self.label in SAMPLES:
            named = any(field.name == "strategy_id" for field in self.body or ())
            return {**SAMPLES[self.label], **({"strategy_id": strategy_id} if named else {})}
        return {field.name: _sample(field) for field in self.body or () if field.required}


@cache
def operations() -> list[Operation]:
    return [*_read(platform_document())]


ALERT: Json = {
    "alert_name": "ten",
    "symbol": "BTCUSDT",
    "interval": "15",
    "alert_type": "PRICE",
    "condition_data": {"op": "above", "value": "10"},
}
BACKTEST: Json = {"symbol": "BTCUSDT", "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"}
# Bodies that cannot be derived from the document.
SAMPLES: Mapping[str, Json] = {
    "POST /v1/auth/register": {"email": "another@example.org", "password": PASSWORD},
    "POST /v1/auth/login": {"email": "another@example.org", "password": PASSWORD},
    "POST /v1/me/password": {"old_password": PASSWORD, "new_password": PASSWORD},
    "POST /v1/strategies": CROSS,
    "PUT /v1/strategies/{id}": CROSS,
    "POST /v1/strategies/{id}/versions": CROSS,
    "POST /v1/sessions": {"symbol": "BTCUSDT", "mode": "PAPER", "initial_balance": "10000"},
    "POST /v1/backtests": BACKTEST,
    "POST /v1/alerts": ALERT,
}


def _sample(field: Field) -> object:
    match field.kind:
        case "choice":
            return cast("list[object]", field.schema.get("enum", [field.schema.get("const")]))[0]
        case "amount":
            return "10.5"
        case "integer":
            return field.schema.get("minimum", 1)
        case "boolean":
            return True
        case "uuid":
            return UNKNOWN_ID
        case "date-time":
            return instant_text(utc_now() + timedelta(days=1))
        case "object":
            return {}
        case "array":
            return []
        case _:
            return "BTCUSDT" if field.name == "symbol" else "hostile"


def _read(document: Json) -> Iterator[Operation]:
    paths = cast("dict[str, dict[str, Json]]", document["paths"])
    schemas = cast("dict[str, dict[str, Json]]", document["components"])["schemas"]
    for path, methods in paths.items():
        for method, described in methods.items():
            parameters = cast("list[Json]", described["parameters"])
            request = cast("Json", described.get("requestBody", {}))
            yield Operation(
                method.upper(),
                path,
                described["security"] == [],
                bool(request.get("required")),
                _body_fields(request, schemas) if request else None,
                tuple(
                    _field(str(each["name"]), cast("Json", each["schema"]), schemas, bool(each["required"]))
                    for each in parameters
                    if each["in"] == "query"
                ),
            )


def _body_fields(request: Json, schemas: Mapping[str, Json]) -> tuple[Field, ...]:
    content = cast("dict[str, dict[str, Json]]", request["content"])
    schema = _resolve(content["application/json"]["schema"], schemas)
    required = cast("list[str]", schema.get("required", []))
    properties = cast("dict[str, Json]", schema.get("properties", {}))
    return tuple(_field(name, each, schemas, name in required) for name, each in properties.items())


def _field(name: str, schema: Schema, schemas: Mapping[str, Json], required: bool) -> Field:
    options = [_resolve(each, schemas) for each in cast("list[Schema]", schema.get("anyOf", [schema]))]
    kinds = [each for each in options if each.get("type") != "null"]
    return Field(name, kinds[-1], required, len(kinds) < len(options))


def _resolve(schema: Schema, schemas: Mapping[str, Json]) -> Schema:
    reference = schema.get("$ref")
    return schemas[reference.rpartition("/")[2]] if isinstance(reference, str) else schema


def with_ids(path: str, created: Mapping[str, str]) -> str:
    """Return the path with the ids of an existing object of its kind, if there is one."""
    collection = path.partition("/{")[0]
    return re.sub(r"\{\w+\}", "1", re.sub(r"\{\w*id\}", created.get(collection, UNKNOWN_ID), path))
