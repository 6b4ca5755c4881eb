"""Every list is sorted, and every flag is read, in one way."""

import pkgutil
from importlib import import_module
from types import UnionType
from typing import Union, get_args, get_origin

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import services
from shared.chassis.http.paging import ListQuery, Page
from shared.contracts.types import QueryModel
from stack.reference.document import all_endpoints

for module in pkgutil.walk_packages(services.__path__, "services."):
    if ".routes" in module.name:
        import_module(module.name)


def _all(model: type[QueryModel]) -> list[type[QueryModel]]:
    below = [each for child in model.__subclasses__() for each in _all(child)]
    return [model, *below] if model.__module__.startswith("services.") else below


QUERIES = sorted(set(_all(QueryModel)), key=lambda model: model.__name__)
LISTS = [model for model in QUERIES if issubclass(model, ListQuery) and "orders" in vars(model)]
BY_NAME = {"BySymbolQuery", "ByStrategyQuery"}  # sums, which have no time
SHORT = {"/v1/plans", "/v1/strategies/templates"}  # one page each, without parameters


def test_every_list_but_the_short_ones_has_an_order() -> None:
    lists = [each for each in all_endpoints() if each.response is not None and issubclass(each.response, Page)]
    assert {each.path for each in lists if each.query not in LISTS} == SHORT


@pytest.mark.parametrize("query", LISTS, ids=lambda query: query.__name__)
def test_a_list_is_sorted_both_ways_and_by_default_newest_first(
    query: type[ListQuery],
) -> None:
    sort = query.model_fields["sort"]
    assert set(get_args(sort.annotation)) == {sign + name for name in query.orders for sign in ("", "-")}
    assert str(sort.default).startswith("-") != (query.__name__ in BY_NAME)


def _is_flag(field: FieldInfo) -> bool:
    kinds = get_args(field.annotation) if get_origin(field.annotation) in (Union, UnionType) else [field.annotation]
    return any(kind is bool or bool in get_args(kind) for kind in kinds)


FLAGS = [(model, name) for model in QUERIES for name, field in model.model_fields.items() if _is_flag(field)]


@pytest.mark.parametrize(("query", "name"), FLAGS, ids=lambda each: getattr(each, "__name__", each))
def test_a_flag_is_true_or_false_and_nothing_else(query: type[QueryModel], name: str) -> None:
    field = TypeAdapter(query.__annotations__[name], config={"arbitrary_types_allowed": True})
    assert (field.validate_python("true"), field.validate_python("false")) == (True, False)
    for text in ("yes", "1", "on", "True", ""):
        with pytest.raises(ValidationError):
            field.validate_python(text)


def test_there_are_lists_and_flags() -> None:
    assert len(LISTS) >= 20
    assert len(FLAGS) >= 6
