"""What of a change to an event would break those who read it, or the messages that were written before."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

SAYS_NOTHING = ("title", "description", "examples", "default")

Schema = Mapping[str, Any]  # Any: JSON


def breaks(then: Schema, model: type[BaseModel]) -> list[str]:
    """A sentence for each thing that may not be; fields may be added, with a default."""
    now = model.model_json_schema()
    return list(_compare("", _resolved(then, then), _resolved(now, now)))


def _resolved(part: Any, whole: Schema) -> Any:
    """Without references, and without what says nothing of validity."""
    if isinstance(part, list):
        return [_resolved(each, whole) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _resolved(whole["$defs"][part["$ref"].rpartition("/")[2]], whole)
    if "properties" in part:
        properties = {name: _resolved(each, whole) for name, each in part["properties"].items()}
        return {**_resolved({k: v for k, v in part.items() if k != "properties"}, whole), "properties": properties}
    return {name: _resolved(each, whole) for name, each in part.items() if name not in (*SAYS_NOTHING, "$defs")}


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
