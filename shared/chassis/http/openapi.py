"""OpenAPI 3.1, generated from the models that validate."""

import json
import re
from collections.abc import Mapping, Sequence
from uuid import UUID

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import models_json_schema

from shared.chassis.errors import (
    AccountNotReady,
    HeadTooLarge,
    IdempotencyInFlight,
    IdempotencyMismatch,
    InvalidBody,
    InvalidInput,
    MissingScope,
    NotFound,
    PreconditionFailed,
    ProblemError,
    QuotaExceeded,
    RequestTimeout,
    TooLarge,
    TooManyHeaders,
    TooManyStreams,
    Unauthorized,
    Unavailable,
    UnsupportedEncoding,
    UnsupportedMediaType,
)
from shared.chassis.http.app import Endpoint
from shared.chassis.http.etags import LONGEST, TAGS_PATTERN
from shared.chassis.http.examples import NoExample, example_of
from shared.chassis.http.idempotency import HEADER, LONGEST_KEY
from shared.chassis.http.streaming import HEADER as LAST_EVENT_ID
from shared.chassis.http.streaming import LONGEST_ID
from shared.chassis.quota.metered_paths import kind_of

REF = "#/components/schemas/{model}"
Json = dict[str, object]
Schemas = dict[tuple[type[BaseModel], str], Json]
IDEMPOTENCY_KEY: Json = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "The client's choice. The same request again, with the same key, makes nothing twice and gets "
    "the first answer, for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": "^[ -~]+$"},
}
ID: Json = {"type": "string", "format": "uuid"}
NUMBER: Json = {"type": "integer", "minimum": 1, "maximum": 999_999_999}
TAGS: Json = {"type": "string", "maxLength": LONGEST, "pattern": TAGS_PATTERN}
IF_MATCH: Json = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of the state that you would change: where there is another by now, nothing is.",
    "schema": TAGS,
}
IF_NONE_MATCH: Json = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of what you have: where it is still the same, it is not sent again.",
    "schema": TAGS,
}
RESUME: Json = {
    "name": LAST_EVENT_ID,
    "in": "header",
    "required": False,
    "description": "The id of the last event that you have: what came after it follows.",
    "schema": {"type": "string", "maxLength": LONGEST_ID, "pattern": "^[ -~]*$"},
}
MISSING_SCOPE = "WWW-Authenticate-Missing-Scope"  # the same header, as a 403 has it
HEADERS: Json = {
    "X-Request-Id": {
        "description": "Names this request in our logs; it is made here, whatever the client sends",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "ETag": {"description": "Names this state of it", "required": True, "schema": {"type": "string"}},
    "Location": {"description": "Where it is", "required": True, "schema": {"type": "string"}},
    "Idempotent-Replayed": {
        "description": "The answer that this key got before; nothing was made",
        "schema": {"type": "string", "const": "true"},
    },
    "Content-Disposition": {
        "description": "What to call the file",
        "required": True,
        "schema": {"type": "string", "pattern": '^attachment; filename="[A-Za-z0-9._-]+"$'},
    },
    "Retry-After": {"description": "Seconds", "schema": {"type": "integer", "minimum": 1}},
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
    MISSING_SCOPE: {
        "description": "Names the scope that the token lacks",
        "schema": {"type": "string", "pattern": '^Bearer error="insufficient_scope", scope="[a-z:]+"$'},
    },
}


class Fault(BaseModel):
    """`path` is a JSON path, or the name of a header."""

    path: str
    reason: str


class Problem(BaseModel):
    """RFC 9457. Go by `type`; what else stands in it depends on that."""

    type: str
    title: str
    status: int
    detail: str
    request_id: UUID
    errors: list[Fault] = []
    retry_after_s: int | None = None


def describe(title: str, endpoints: Sequence[Endpoint], description: str = "") -> Json:
    """The OpenAPI document of these endpoints; internal ones are left out."""
    shown = [endpoint for endpoint in endpoints if not endpoint.internal]
    schemas, components = _schemas(shown)
    paths: dict[str, Json] = {}
    for endpoint in shown:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(
            endpoint, schemas, components, shown
        )
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": "1", "description": description},
        "paths": paths,
        "components": {
            "schemas": components,
            "headers": HEADERS,
            "securitySchemes": {"access_token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _schemas(endpoints: Sequence[Endpoint]) -> tuple[Schemas, Json]:
    wanted: list[tuple[type[BaseModel], str]] = [(Problem, "validation")]
    for endpoint in endpoints:
        if endpoint.body:
            wanted.append((endpoint.body, "validation"))
        if endpoint.response:
            wanted.append((endpoint.response, "serialization"))
        wanted += [(event, "serialization") for event in endpoint.events.values()]
    schemas, definitions = models_json_schema(
        list(dict.fromkeys(wanted)),  # type: ignore[arg-type]  # pairs of model and Literal mode
        ref_template=REF,
    )
    return dict(schemas), definitions.get("$defs", {})  # type: ignore[arg-type]  # the same pairs


def _operation(endpoint: Endpoint, schemas: Schemas, components: Json, endpoints: Sequence[Endpoint]) -> Json:
    operation: Json = {
        "operationId": operation_id(endpoint),
        "summary": endpoint.summary,
        "tags": [endpoint.path.split("/")[2] if endpoint.path.startswith("/v1/") else "platform"],
        "parameters": [
            *_path_parameters(endpoint),
            *_query_parameters(endpoint),
            *([IDEMPOTENCY_KEY] if endpoint.creates else []),
            *([IF_MATCH] if endpoint.changes_tagged else []),
            *([IF_NONE_MATCH] if endpoint.tagged and endpoint.method == "GET" else []),
            *([RESUME] if endpoint.events else []),
        ],
        "responses": _responses(endpoint, schemas, components, links_of(endpoint, endpoints)),
        "security": [] if endpoint.public else [{"access_token": [endpoint.needs] if endpoint.needs else []}],
    }
    if endpoint.body:
        operation["requestBody"] = {
            "required": any(field.is_required() for field in endpoint.body.model_fields.values()),
            "content": {"application/json": _shown(schemas[(endpoint.body, "validation")], components, sent=True)},
        }
    return operation


def operation_id(endpoint: Endpoint) -> str:
    """The handler's name, which is a verb and a noun."""
    return getattr(endpoint.handler, "__name__", "") or re.sub(r"\W+", "_", endpoint.path).strip("_")


def links_of(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> Json:
    """What `POST /things` made can be used by all of `/things/{id}`. The first field of a view is its id."""
    if not endpoint.creates or endpoint.response is None or "{" in endpoint.path:
        return {}
    made = next(iter(endpoint.response.model_fields))
    return {
        operation_id(other): {
            "operationId": operation_id(other),
            "parameters": {"id": f"$response.body#/{made}"},
        }
        for other in endpoints
        if (other.path + "/").startswith(endpoint.path + "/{id}/")
    }


def _path_parameters(endpoint: Endpoint) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": ID if name.endswith("id") else NUMBER}
        for name in re.findall(r"{(\w+)}", endpoint.path)
    ]


def _query_parameters(endpoint: Endpoint) -> list[Json]:
    if endpoint.query is None:
        return []
    schema = TypeAdapter(endpoint.query).json_schema(ref_template=REF)
    required = schema.get("required", [])
    return [
        {
            "name": name,
            "in": "query",
            "required": name in required,
            "schema": _inline(part, schema),
            **({"example": example_of(part, schema.get("$defs", {}), name)} if name in required else {}),
        }
        for name, part in schema.get("properties", {}).items()
    ]


def _inline(part: Json, schema: Json) -> Json:
    reference = part.get("$ref")
    definitions = schema.get("$defs")
    if isinstance(reference, str) and isinstance(definitions, dict):
        found = definitions[reference.rpartition("/")[2]]
        return found if isinstance(found, dict) else part
    return part


def _responses(endpoint: Endpoint, schemas: Schemas, components: Json, links: Json) -> Json:
    headers = {
        "Location": endpoint.status in (201, 202),
        "Idempotent-Replayed": endpoint.creates,
        "ETag": endpoint.tagged and endpoint.method != "DELETE",
        "Content-Disposition": bool(endpoint.media),
    }
    success: Json = {"description": "Done", "headers": _headers(headers), **({"links": links} if links else {})}
    if endpoint.response:
        success["content"] = {"application/json": _shown(schemas[(endpoint.response, "serialization")], components)}
    if endpoint.events:
        success["content"] = {"text/event-stream": _stream(endpoint, schemas, components)}
    if endpoint.media:
        success["content"] = {endpoint.media: {"schema": {"type": "string"}, "example": endpoint.media_example}}
    has_body = endpoint.response or endpoint.events or endpoint.media
    status = endpoint.status if has_body or endpoint.status != 200 else 204
    others: Json = {}
    if endpoint.tagged and endpoint.method == "GET":
        others["304"] = {"description": "You have it", "headers": _headers({"ETag": True})}
    problems: dict[int, list[type[ProblemError]]] = {}
    for error in _errors_of(endpoint):
        problems.setdefault(error.status, []).append(error)
    problem = schemas[(Problem, "validation")]
    refused = {str(code): _refusal(code, errors, problem) for code, errors in sorted(problems.items())}
    return {str(status): success, **others, **refused}


def _shown(schema: Json, components: Json, *, sent: bool = False) -> Json:
    """With an example, where its models tell one."""
    try:
        return {"schema": schema, "example": example_of(schema, components, sent=sent)}
    except NoExample:
        return {"schema": schema}


def _stream(endpoint: Endpoint, schemas: Schemas, components: Json) -> Json:
    """Of each event; what its `data` holds goes by its name."""
    data = {name: schemas[(model, "serialization")] for name, model in endpoint.events.items()}
    sent = (
        f"id: {number}\nevent: {name}\ndata: {json.dumps(example_of(each, components))}\n\n"
        for number, (name, each) in enumerate(data.items(), start=1)
    )
    return {"schema": {"anyOf": [_event(name, each) for name, each in data.items()]}, "example": "".join(sent)}


def _event(name: str, data: Json) -> Json:
    parts: Json = {
        "id": {"type": "string"},
        "event": {"const": name},
        "data": {"type": "string", "contentMediaType": "application/json", "contentSchema": data},
    }
    return {"type": "object", "properties": parts, "required": list(parts)}


def _refusal(code: int, errors: Sequence[type[ProblemError]], problem: Json) -> Json:
    types = sorted({f"/problems/{error.type}" for error in errors})
    schema = {**problem, "properties": {"type": {"enum": types}, "status": {"const": code}}}
    given = {
        "Retry-After": any(error.retry_after_s is not None for error in errors),
        "WWW-Authenticate": code == Unauthorized.status,
    }
    headers = _headers(given)
    if MissingScope in errors:
        headers["WWW-Authenticate"] = {"$ref": f"#/components/headers/{MISSING_SCOPE}"}
    return {
        "description": "; ".join(dict.fromkeys(error.title for error in errors)),
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema}},
    }


def _headers(given: Mapping[str, bool]) -> Json:
    names = ["X-Request-Id", *(name for name, has in given.items() if has)]
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _errors_of(endpoint: Endpoint) -> list[type[ProblemError]]:
    implied: list[type[ProblemError]] = [*endpoint.errors]
    if not endpoint.public:
        implied += [Unauthorized, MissingScope, AccountNotReady]
        if kind_of(endpoint.method, endpoint.path) is not None:
            implied.append(QuotaExceeded)
    if endpoint.body:
        implied += [InvalidBody, InvalidInput, RequestTimeout, TooLarge, UnsupportedEncoding, UnsupportedMediaType]
    if endpoint.changes_tagged:
        implied += [PreconditionFailed, InvalidInput]
    if endpoint.tagged and endpoint.method == "GET":
        implied.append(InvalidInput)
    if endpoint.events:
        implied += [TooManyStreams, InvalidInput]
    if endpoint.media:
        implied.append(TooManyStreams)
    if endpoint.creates:
        implied += [IdempotencyInFlight, IdempotencyMismatch, InvalidInput]
    if endpoint.query:
        implied.append(InvalidInput)
    if "{" in endpoint.path:
        implied.append(NotFound)
    implied += [HeadTooLarge, TooManyHeaders, Unavailable]
    return implied
