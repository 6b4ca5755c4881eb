"""The rules for names in the API (docs/api.md), as far as a machine can check them: functions that read an OpenAPI
document and yield faults, each naming the field or operation at fault."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

from shared.contracts.types import AMOUNT_PATTERN

Json = dict[str, Any]  # Any: JSON

# Names of fields and query parameters that are refused, each with what to write instead.
INSTEAD = {
    r"(\w+_)?qty(_\w+)?": "quantity",
    r"fees": "fee",
    r"(\w+_)?(pct|percent)": "percentage, or …_percentage",
    r"timestamp|time|at|when": "…_time for a fact of the market, …_at for a record",
    r"\w+_reason|\w+_signal": "reason",
    r"avg_\w+": "average_…",
    r"\w+_notes": "notes",
    r"is_paper\w*": "mode",
}
# Decimal strings. The limits that a user sets in percent are exact, so they are amounts.
AMOUNT = re.compile(
    r"(\w+_)?(price|quantity|fee|fee_rate|funding|pnl|balance|equity|size|notional|trade)|stop_loss_percentage|"
    r"take_profit_percentage|drawdown_pause_percentage|slippage_tolerance_percentage|max_daily_loss|slippage|volume|"
    r"open|high|low|close|gains|losses|capital_\w+|in_sessions|allowed|asked|ema_value|quantity_step|"
    r"price_(monthly|yearly)|max_position_size|gap|latency|missed_fill"
)
# Numbers: a figure that is none of these is an amount.
STATISTIC = re.compile(
    r"(\w+_)?percentage|average_(win|loss|bars)|calmar|expectancy|profit_factor|sharpe|sortino|volatility"
)
OF_EVERY_LIST = {"cursor", "limit", "sort", "from", "to"}
# Parameters that are no filters: they choose what is listed.
CHOICES = {"mode": "/v1/performance/", "flows": "/v1/performance/equity", "generation": "/v1/candles"}
# Filters by a field of the session.
OF_SESSION = {("/v1/fills", "symbol"), ("/v1/decisions", "symbol")}
# The status of a problem is its HTTP status, a number; every other status is a word.
OF_PROBLEM = {("Problem", "status")}


def names_are_current(document: Json) -> Iterator[str]:
    named = [*((f"{model}.{name}", name) for model, name, _ in _fields(document)), *_parameters(document)]
    for where, name in named:
        yield from (f"{where}: write {right}" for wrong, right in INSTEAD.items() if re.fullmatch(wrong, name))


def times_are_named_as_times(document: Json) -> Iterator[str]:
    """A date-time is `…_time`, `…_at`, `from` or `to`, and nothing else is; a date is `date` or `…_date`."""
    for model, name, part in _fields(document):
        formats = {each.get("format") for each in _alternatives(document, part)}
        if ("date-time" in formats) != bool(re.search(r"_(time|at)$|^(from|to)$", name)):
            yield f"{model}.{name}: is {'a time' if 'date-time' in formats else 'no time'}"
        if ("date" in formats) != bool(re.fullmatch(r"(\w+_)?date", name)):
            yield f"{model}.{name}: is {'a date' if 'date' in formats else 'no date'}"


def amounts_are_strings_and_statistics_numbers(document: Json) -> Iterator[str]:
    for model, name, part in _fields(document):
        kinds = _alternatives(document, part)
        is_amount = any(each.get("pattern") == AMOUNT_PATTERN for each in kinds)
        is_number = any(each.get("type") == "number" for each in kinds)
        if is_amount and not AMOUNT.fullmatch(name):
            yield f"{model}.{name}: an amount that is not listed"
        if AMOUNT.fullmatch(name) and not is_amount and any(each.get("type") != "integer" for each in kinds):
            yield f"{model}.{name}: an amount that is no decimal string"
        if is_number != bool(STATISTIC.fullmatch(name) and not AMOUNT.fullmatch(name)) and not _is_count(kinds):
            yield f"{model}.{name}: {'a number that is no' if is_number else 'a'} statistic"


def a_name_has_one_type(document: Json) -> Iterator[str]:
    found: dict[str, dict[frozenset[str], str]] = defaultdict(dict)
    for model, name, part in _fields(document):
        if (model, name) not in OF_PROBLEM:
            kinds = frozenset(_kind(each) for each in _alternatives(document, part))
            found[name].setdefault(kinds, model)
    for name, models in found.items():
        if len(models) > 1:
            yield f"{name}: has different types in {', '.join(models.values())}"


def filters_are_fields_of_what_they_filter(document: Json) -> Iterator[str]:
    for path, operation, shown in _lists(document):
        for parameter in operation["parameters"]:
            name, is_filter = parameter["name"], parameter["in"] == "query" and not parameter["required"]
            chosen = path.startswith(CHOICES.get(name, "none"))
            if is_filter and name not in {*OF_EVERY_LIST, *shown} and not chosen and (path, name) not in OF_SESSION:
                yield f"{path}: filters by {name}, which is no field of the list"


def orders_are_fields_of_what_they_sort(document: Json) -> Iterator[str]:
    for path, operation, shown in _lists(document):
        for parameter in operation["parameters"]:
            if parameter["name"] == "sort":
                orders = {order.removeprefix("-") for order in parameter["schema"]["enum"]}
                yield from (f"{path}: sorts by {name}, which is no field" for name in sorted(orders - shown.keys()))


def a_login_has_no_session_id(document: Json) -> Iterator[str]:
    """`/v1/me/sessions`, a path that clients rely on, lists logins; `session_id` is a bot's everywhere."""
    for path, _, shown in _lists(document):
        if path == "/v1/me/sessions" and ("session_id" in shown or "login_id" not in shown):
            yield f"{path}: a login's id is no session_id"


def put_replaces_and_patch_edits(document: Json) -> Iterator[str]:
    """A PUT takes what a POST takes, or all that a GET of the same path shows, or what is never shown."""
    bodies = {(path, method): _model(operation) for path, method, operation in _operations(document)}
    created = {model for (_, method), model in bodies.items() if method == "post"}
    for (path, method), model in bodies.items():
        if method == "patch" and model in created:
            yield f"PATCH {path}: takes the whole, which is a PUT"
        if method == "put" and "get" not in document["paths"][path]:
            fields = document["components"]["schemas"][model]["properties"].values()
            if not all(field.get("writeOnly") for field in fields):
                yield f"PUT {path}: takes what nobody can get"
        elif method == "put" and model not in created:
            got = document["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]
            shown = document["components"]["schemas"][_name(got["schema"])]["properties"]
            if shown.keys() != document["components"]["schemas"][model]["properties"].keys():
                yield f"PUT {path}: takes a part, which is a PATCH"


RULES: tuple[Callable[[Json], Iterator[str]], ...] = (
    names_are_current,
    times_are_named_as_times,
    amounts_are_strings_and_statistics_numbers,
    a_name_has_one_type,
    filters_are_fields_of_what_they_filter,
    orders_are_fields_of_what_they_sort,
    a_login_has_no_session_id,
    put_replaces_and_patch_edits,
)


def _fields(document: Json) -> Iterator[tuple[str, str, Json]]:
    for model, schema in document["components"]["schemas"].items():
        for name, part in schema.get("properties", {}).items():
            yield model, name, part


def _operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _parameters(document: Json) -> Iterator[tuple[str, str]]:
    for path, method, operation in _operations(document):
        for parameter in operation["parameters"]:
            yield f"{method.upper()} {path}", parameter["name"]


def _lists(document: Json) -> Iterator[tuple[str, Json, Json]]:
    """Yield path, operation and fields of each operation that answers a page."""
    schemas = document["components"]["schemas"]
    for path, method, operation in _operations(document):
        answer = operation["responses"].get("200", {}).get("content", {}).get("application/json", {})
        page = _name(answer.get("schema", {}))
        if method == "get" and page.startswith("Page_"):
            item = _name(schemas[page]["properties"]["items"]["items"])
            yield path, operation, schemas[item]["properties"]


def _alternatives(document: Json, part: Json) -> list[Json]:
    if "$ref" in part:
        return _alternatives(document, document["components"]["schemas"].get(_name(part), {}))
    if "anyOf" in part:
        return [each for option in part["anyOf"] for each in _alternatives(document, option)]
    return [] if part.get("type") == "null" else [part]


def _kind(part: Json) -> str:
    """Return the JSON type; a count is a number, and an enumeration is of words."""
    kind = part.get("type", "string" if {"enum", "const"} & part.keys() else "any")
    return "number" if kind == "integer" else str(kind)


def _is_count(kinds: list[Json]) -> bool:
    return all(each.get("type") == "integer" for each in kinds)


def _model(operation: Json) -> str:
    return _name(operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {}))


def _name(schema: Json) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]
