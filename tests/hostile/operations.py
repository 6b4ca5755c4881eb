"""The platform's operations, read from its OpenAPI document, so that new routes are attacked as well."""

import re
from collections.abc import Mapping
from datetime import timedelta
from functools import cache

from shared.chassis.clock import utc_now
from shared.contracts.types import instant_text
from shared.testing.api_client import PASSWORD, Json
from shared.testing.operations import UNKNOWN_ID, Field, Operation, read_operations
from shared.testing.tenant import bodies_of
from stack.reference.document import platform_document
from tests.unit.trading.scenes import CROSS


@cache
def operations() -> list[Operation]:
    return read_operations(platform_document())


ACCOUNTS: Mapping[str, Json] = {
    "POST /v1/auth/register": {"email": "another@example.org", "password": PASSWORD},
    "POST /v1/auth/login": {"email": "another@example.org", "password": PASSWORD},
    "POST /v1/me/password": {"old_password": PASSWORD, "new_password": PASSWORD},
}


def sample_of(operation: Operation, strategy_id: str) -> Json:
    """Return a body that the operation accepts."""
    known = {**ACCOUNTS, **bodies_of("hostile", CROSS, strategy_id)}
    required = {field.name: _sample(field) for field in operation.body or () if field.required}
    return known.get(operation.label, required)


def _sample(field: Field) -> object:
    match field.kind:
        case "choice":
            return field.schema.get("enum", [field.schema.get("const")])[0]
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


def with_ids(path: str, created: Mapping[str, str]) -> str:
    """Return the path with the ids of an existing object of its kind, if there is one."""
    collection = path.partition("/{")[0]
    return re.sub(r"\{\w+\}", "1", re.sub(r"\{\w*id\}", created.get(collection, UNKNOWN_ID), path))
