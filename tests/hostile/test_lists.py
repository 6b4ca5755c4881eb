"""Every list is complete and without duplicates, in every order and in pages of any size."""

from collections import Counter
from collections.abc import Callable

import pytest
import requests

from shared.testing.api_client import Json
from shared.testing.operations import Operation
from shared.testing.tenant import KINDS
from tests.hostile import table
from tests.hostile.operations import operations, with_ids
from tests.hostile.world import World
from tests.unit.trading.scenes import CROSS

MOST_PAGES = 60
LONGEST = [letter * 99 + "1" for letter in "🚀Ж漢"]


def _is_list(operation: Operation) -> bool:
    return {"cursor", "limit"} <= {field.name for field in operation.query}


LISTS = [operation for operation in operations() if operation.method == "GET" and _is_list(operation)]


def _orders(operation: Operation) -> list[str]:
    sort = next((field for field in operation.query if field.name == "sort"), None)
    orders: list[str] = [] if sort is None else sort.schema["enum"]
    return orders


@pytest.fixture
def fuller(world: World) -> World:
    """Add more of everything a tenant creates, with the longest names allowed. Once is enough for all lists."""
    for name in LONGEST:
        for service, path, body in _things(world, name):
            answer = requests.post(world.services[service].url + path, json=body, headers=world.headers, timeout=20)
            assert answer.status_code in (201, 409), answer.text
    return world


def _things(world: World, name: str) -> list[tuple[str, str, Json]]:
    series: Json = {"symbol": "BTCUSDT", "interval": "15"}
    alert: Json = {"alert_name": name, "alert_type": "PRICE", "condition_data": {"op": "above", "value": "10"}}
    return [
        ("trading", "/v1/strategies", {**CROSS, "strategy_name": name}),
        ("trading", "/v1/bot-configurations", {"config_name": name}),
        ("notifications", "/v1/alerts", {**series, **alert}),
        ("analytics", "/v1/watchlist", {**series, "ema_period": 30 + LONGEST.index(name)}),
    ]


@pytest.mark.parametrize("operation", LISTS, ids=lambda operation: operation.label)
def test_a_list_is_complete_in_every_order(
    fuller: World, operation: Operation, record_property: Callable[[str, object], None]
) -> None:
    url = fuller.service_of(operation.path).url + with_ids(operation.path, _existing(fuller, operation.path))
    values = {"symbol": "BTCUSDT", "interval": "15"}
    needed = {field.name: values[field.name] for field in operation.query if field.required}
    tried = 0
    for order in _orders(operation) or [""]:
        query = {**needed, **({"sort": order} if order else {})}
        whole = _items(fuller, url, {**query, "limit": "200"})
        one_by_one = _items(fuller, url, {**query, "limit": "1"})
        assert one_by_one == whole[: len(one_by_one)], order
        assert len(one_by_one) in (len(whole), MOST_PAGES), order
        tried += 2
    table.record(record_property, "lists to their end", Counter({operation.label: tried}))


def _existing(world: World, path: str) -> dict[str, str]:
    """Return the ids of the world's objects; of another one where an earlier test has deleted the list's."""
    collection, parameter, _ = path.partition("/{")
    if not parameter or collection not in world.created:
        return world.created
    url = world.service_of(collection).url + collection
    kept = requests.get(f"{url}/{world.created[collection]}", headers=world.headers, timeout=20)
    if kept.status_code == 200:
        return world.created
    listed = requests.get(url, headers=world.headers, timeout=20).json()["items"]
    return {**world.created, collection: listed[0][KINDS[collection]]}


def _items(world: World, url: str, query: dict[str, str]) -> list[object]:
    found: list[object] = []
    for _ in range(MOST_PAGES):
        answer = requests.get(url, params=query, headers=world.headers, timeout=20)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["items"]
        if page["next_cursor"] is None:
            return found
        query = {**query, "cursor": page["next_cursor"]}
    return found
