"""Find changes of an event that would break its consumers, or messages that were written earlier."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

NOT_VALIDATING = ("title", "description", "examples", "default")

Schema = Mapping[str, Any]  # Any: JSON


def breaks(then: Schema, model: type[BaseModel]) -> list[str]:
    """Return a sentence for each breaking change; fields with a default may be added."""
    now = model.model_json_schema()
    return list(_compare("", _resolved(then, then), _resolved(now, now)))


def _resolved(part: Any, whole: Schema) -> Any:
    """Resolve the references, and drop keywords that do not affect validity."""
    if isinstance(part, list):
        return [_resolved(each, whole) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolved(whole["$defs"][part["$ref"].rpartition("/")[2]], whole)
    if "properties" in part:
        properties = {name: _resolved(each, whole) for name, each in part["properties"].items()}
        return {**_resolved({k: v for k, v in part.items() if k != "properties"}, whole), "properties": properties}
    return {name: _resolved(each, whole) for name, each in part.items() if name not in (*NOT_VALIDATING, "$defs")}


def _compare(where: str, then: Any, now: Any) -> Iterator[str]:
    if not (isinstance(then, dict) and isinstance(now, dict) and "properties" in then and "properties" in now):
        if then != now:
            yield f"{where or 'the event'} was {then} and is {now}"
        return
    for name, field in then["properties"].items():
        if name not in now["properties"]:
            yield f"{where}{name} is gone"
        else:
            yield from _compare(f"{where}{name}.", field, now["properties"][name])
    for name in now.get("required", []):
        if name not in then.get("required", []):
            yield f"{where}{name} has no default, and messages of before do not hold it"
