"""The API names one thing by one name; the rules find their faults."""

from collections.abc import Callable, Iterator, Mapping

import pytest

from shared.contracts.types import AMOUNT_PATTERN
from stack.reference.document import platform_document
from tests.contracts import api_names
from tests.contracts.api_names import RULES, Json

Rule = Callable[[Json], Iterator[str]]
AMOUNT: Json = {"type": "string", "pattern": AMOUNT_PATTERN}
NUMBER: Json = {"anyOf": [{"type": "number"}, {"type": "null"}]}
WORD: Json = {"type": "string"}
TIME: Json = {"type": "string", "format": "date-time"}


@pytest.fixture(scope="module")
def document() -> Json:
    return platform_document()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_api_keeps_the_rule(rule: Rule, document: Json) -> None:
    assert [*rule(document)] == []


def with_fields(fields: Mapping[str, Json], query: Mapping[str, Json] = {}, path: str = "/v1/things") -> Json:
    """Return a document with a list of things that have these fields, and these query parameters."""
    parameters = [
        {"name": name, "in": "query", "required": False, "schema": schema} for name, schema in query.items()
    ]
    items = {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Page_Thing_"}}}
    return {
        "paths": {path: {"get": {"parameters": parameters, "responses": {"200": {"content": content}}}}},
        "components": {
            "schemas": {"Thing": {"properties": fields}, "Page_Thing_": {"properties": {"items": items}}}
        },
    }


@pytest.mark.parametrize(
    "name",
    ["qty", "min_order_qty", "fees", "pnl_pct", "percent", "timestamp", "time", "stop_reason", "strategy_signal"],
)
def test_an_old_name_is_found(name: str) -> None:
    assert [*api_names.names_are_current(with_fields({name: AMOUNT}))]
    assert [*api_names.names_are_current(with_fields({}, {name: WORD}))]


@pytest.mark.parametrize(
    ("rule", "wrong"),
    [
        (api_names.times_are_named_as_times, {"last_used": TIME}),
        (api_names.times_are_named_as_times, {"counted_at": WORD}),
        (api_names.times_are_named_as_times, {"start_date": TIME}),
        (api_names.amounts_are_strings_and_statistics_numbers, {"exit_price": NUMBER}),
        (api_names.amounts_are_strings_and_statistics_numbers, {"worth": AMOUNT}),
        (api_names.amounts_are_strings_and_statistics_numbers, {"win_rate_percentage": AMOUNT}),
        (api_names.amounts_are_strings_and_statistics_numbers, {"worth": NUMBER}),
    ],
)
def test_a_wrong_type_is_found(rule: Rule, wrong: Mapping[str, Json]) -> None:
    assert [*rule(with_fields(wrong))]


def test_two_types_of_one_name_are_found() -> None:
    twice = with_fields({"late": WORD})
    twice["components"]["schemas"]["Other"] = {"properties": {"late": {"type": "boolean"}}}
    assert [*api_names.a_name_has_one_type(twice)]


def test_a_filter_and_an_order_without_a_field_are_found() -> None:
    given = with_fields({"is_read": WORD}, {"unread": WORD, "sort": {"enum": ["time", "-time"]}})
    assert [*api_names.filters_are_fields_of_what_they_filter(given)]
    assert [*api_names.orders_are_fields_of_what_they_sort(given)]
    assert not [
        *api_names.filters_are_fields_of_what_they_filter(with_fields({"is_read": WORD}, {"is_read": WORD}))
    ]


def test_a_login_with_a_session_id_is_found() -> None:
    given = with_fields({"session_id": WORD}, path="/v1/me/sessions")
    assert [*api_names.a_login_has_no_session_id(given)]


@pytest.mark.parametrize(("field", "count"), [({"type": "string"}, 1), ({"type": "string", "writeOnly": True}, 0)])
def test_a_put_of_what_nobody_can_get_is_found_unless_it_is_a_secret(field: Json, count: int) -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/KeyBody"}}}}
    given = with_fields({"a": WORD}, path="/v1/things")
    given["paths"]["/v1/things/{id}/key"] = {"put": {"requestBody": body, "parameters": [], "responses": {}}}
    given["components"]["schemas"]["KeyBody"] = {"properties": {"secret": field}}
    assert len([*api_names.put_replaces_and_patch_edits(given)]) == count


@pytest.mark.parametrize(("method", "creates"), [("put", False), ("patch", True)])
def test_a_put_of_a_part_and_a_patch_of_the_whole_are_found(method: str, creates: bool) -> None:
    body = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ThingBody"}}}}
    given = with_fields({"a": WORD, "b": WORD}, path="/v1/things/{id}")
    thing = given["paths"]["/v1/things/{id}"]
    thing["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"] = "#/components/schemas/Thing"
    given["components"]["schemas"]["ThingBody"] = {"properties": {"a": WORD}}
    thing[method] = {"requestBody": body, "parameters": [], "responses": {}}
    if creates:
        given["paths"]["/v1/things"] = {"post": thing[method]}
    assert [*api_names.put_replaces_and_patch_edits(given)]
