"""Bot configurations over HTTP: stale edits are refused, at most one is the default, uses are counted."""

import asyncio

from shared.testing.api_client import Json
from tests.integration.trading.callers import Api, Caller

PATH = "/v1/bot-configurations"
FULL: Json = {
    "config_name": "careful",
    "config_data": {"min_stop_distance_percentage": "0.5", "note": "mine"},
    "strategy_type": "trend",
    "risk_level": "LOW",
    "max_position_size": "500",
    "stop_loss_percentage": "2",
    "take_profit_percentage": "10",
}


async def create(caller: Caller, **changes: object) -> str:
    answer = await caller.call("POST", PATH, {**FULL, **changes})
    assert answer.status == 201, answer.body
    return answer.headers["Location"]


async def test_every_column_is_stored_and_uses_are_counted(api: Api) -> None:
    ann = await api.caller()
    path = await create(ann)
    strategy_id = await ann.make_strategy()
    for _ in range(2):
        answer = await ann.start(strategy_id, bot_configuration_id=path[-36:])
        assert answer.body["bot_configuration_id"] == path[-36:]
    shown = (await ann.call("GET", path)).body
    assert shown.items() >= FULL.items()
    assert shown["times_used"] == 2
    assert str(shown["last_used_at"]) > str(shown["created_at"])


async def test_a_stale_etag_cannot_overwrite_a_change(api: Api) -> None:
    ann = await api.caller()
    path = await create(ann)
    tag = (await ann.call("GET", path)).headers["ETag"]
    await ann.start(await ann.make_strategy(), bot_configuration_id=path[-36:])
    assert (await ann.call("GET", path, If_None_Match=tag)).status == 200  # its usage count has changed
    changed = await ann.call("PUT", path, {**FULL, "risk_level": "HIGH"}, If_Match=tag)
    assert (changed.status, changed.body["risk_level"]) == (200, "HIGH")
    assert (await ann.call("PUT", path, FULL, If_Match=tag)).status == 412
    assert (await ann.call("DELETE", path, If_Match=tag)).status == 412
    assert (await ann.call("DELETE", path, If_Match=changed.headers["ETag"])).status == 204
    assert (await ann.call("GET", path)).status == 404


async def test_concurrent_defaults_leave_exactly_one(api: Api) -> None:
    ann = await api.caller()
    paths = await asyncio.gather(
        *(create(ann, config_name=f"number {number}", is_default=True) for number in range(20))
    )
    assert sum(each["is_default"] for each in await ann.list_all(PATH)) == 1
    bodies: list[Json] = [{**FULL, "config_name": f"again {number}", "is_default": True} for number in range(20)]
    done = await asyncio.gather(*(ann.call("PUT", *each) for each in zip(paths, bodies, strict=True)))
    assert {answer.status for answer in done} == {200}
    assert sum(each["is_default"] for each in await ann.list_all(PATH)) == 1


async def test_the_list_is_sorted_and_filtered_by_is_active(api: Api) -> None:
    ann = await api.caller()
    paths = [await create(ann, config_name=f"number {number}", is_active=number % 2 == 0) for number in range(9)]
    ids = [path[-36:] for path in paths]
    assert [each["bot_configuration_id"] for each in await ann.list_all(PATH)] == ids[::-1]
    assert [each["bot_configuration_id"] for each in await ann.list_all(PATH + "?sort=created_at")] == ids
    assert [each["bot_configuration_id"] for each in await ann.list_all(PATH + "?is_active=true")] == ids[::-2]
    assert (await ann.call("GET", PATH + "?is_active=yes")).status == 422
