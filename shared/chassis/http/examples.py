"""Examples for the OpenAPI documents, built from the models and the names of their fields."""

from collections.abc import Mapping
from typing import Any

from shared.contracts.examples import BY_NAME, example_id

Json = Mapping[str, Any]  # Any: JSON


class NoExample(LookupError):
    """Neither the model nor the names of its fields give an example."""


def example_of(schema: Json, definitions: Json, name: str = "", *, sent: bool = False) -> object:
    """Return an example for a field of this name. Raises NoExample.

    In order of preference: the example of its model, the common example of the name, one built from its parts. A
    request body (`sent`) includes an optional field only if the model gives an example for it.
    """
    if "examples" in schema:
        return schema["examples"][0]
    if name in BY_NAME:
        return BY_NAME[name]
    if "$ref" in schema:
        return example_of(definitions[schema["$ref"].rpartition("/")[2]], definitions, name, sent=sent)
    if "anyOf" in schema:
        not_null = next(each for each in schema["anyOf"] if each.get("type") != "null")
        return example_of(not_null, definitions, name, sent=sent)
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
