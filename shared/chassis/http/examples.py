"""Examples for the OpenAPI documents, made of what models and the names of their fields tell."""

from collections.abc import Mapping
from typing import Any

from shared.contracts.examples import BY_NAME, example_id

Json = Mapping[str, Any]  # Any: JSON


class NoExample(LookupError):
    """Neither the model nor the names of its fields tell one."""


def example_of(schema: Json, definitions: Json, name: str = "", *, sent: bool = False) -> object:
    """What a field of this name may hold: what its model says of it, else what the name means everywhere, else what
    its parts tell. In a body that is sent, of what may be left out only what the model says. Raises NoExample."""
    if "examples" in schema:
        return schema["examples"][0]
    if name in BY_NAME:
        return BY_NAME[name]
    if "$ref" in schema:
        return example_of(definitions[schema["$ref"].rpartition("/")[2]], definitions, name, sent=sent)
    if "anyOf" in schema:
        some = next(each for each in schema["anyOf"] if each.get("type") != "null")
        return example_of(some, definitions, name, sent=sent)
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    if "properties" in schema:
        return {
            field: example_of(part, definitions, field, sent=sent)
            for field, part in schema["properties"].items()
            if not sent or field in schema.get("required", ()) or "examples" in part
        }
    if schema.get("type") == "array" and "items" in schema:
        return [example_of(schema["items"], definitions, name, sent=sent)]
    if schema.get("format") == "uuid":
        return example_id(name)
    raise NoExample(name)
