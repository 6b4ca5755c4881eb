"""States without a violation: a world in which every invariant holds, and harmless effects of faults."""

import asyncio
import json
from pathlib import Path

import pytest

from faults.checker import check
from tests.integration.faults_checker.conftest import Judge
from tests.integration.faults_checker.world import ANN, BOB, World, uid


async def test_a_correct_world_has_no_violation(judge: Judge) -> None:
    assert await judge() == []


async def test_a_message_may_be_on_its_topic_more_than_once(world: World, judge: Judge) -> None:
    for message in reversed(list(world.messages)):
        again = world.put(message["topic"], message["partition"], message["headers"], message["value"])
        again["key"] = message["key"]
    assert await judge() == []


async def test_a_call_without_an_answer_may_have_taken_effect(world: World, judge: Judge) -> None:
    world.call("POST /v1/sessions/{id}/resume", uid("b100"), tenant=BOB, outcome="unknown")
    world.call("PATCH /v1/alerts/{id}", uid("a300"), outcome="unknown", sent={"alert_name": "other"})
    world.call("DELETE /v1/alerts/{id}", uid("a301"), outcome="unknown")
    await world.sql("UPDATE trading.user_trading_sessions SET status = 'ACTIVE' WHERE user_id = 2")
    await world.sql("UPDATE notifications.user_alerts SET alert_name = 'other' WHERE alert_id = $1", uid("a300"))
    await world.sql("DELETE FROM notifications.user_alerts WHERE alert_id = $1", uid("a301"))
    assert await judge() == []


async def test_a_call_without_an_answer_may_have_had_no_effect(world: World, judge: Judge) -> None:
    world.call("POST /v1/sessions/{id}/resume", uid("b100"), tenant=BOB, outcome="unknown")
    world.call("PATCH /v1/alerts/{id}", uid("a300"), outcome="unknown", sent={"alert_name": "other"})
    world.call("DELETE /v1/alerts/{id}", uid("a301"), outcome="unknown")
    world.call("POST /v1/bot-configurations", kind="configuration", outcome="unknown", sent={"config_name": "lost"})
    assert await judge() == []


async def test_a_call_with_a_lost_answer_may_have_created_one_object(world: World, judge: Judge) -> None:
    sent = {"config_name": "lost", "config_data": {}}
    world.call("POST /v1/bot-configurations", kind="configuration", outcome="unknown", sent=sent)
    await make_configuration(world, "lost")
    assert await judge() == []


async def test_a_refused_call_has_no_effect(world: World, judge: Judge) -> None:
    world.call("PATCH /v1/alerts/{id}", uid("a300"), outcome="failed", status=409, sent={"alert_name": "taken"})
    world.call("POST /v1/sessions/{id}/pause", uid("a100"), outcome="failed", status=409)
    assert await judge() == []


async def test_a_dropped_event_needs_no_effect(world: World, judge: Judge) -> None:
    await set_aside(world, "DROPPED")
    await without_the_first_trade(world)
    assert await judge() == []


async def test_a_halted_event_with_an_explanation_needs_no_effect(world: World, judge: Judge) -> None:
    await set_aside(world, "HALTED")
    await without_the_first_trade(world)
    world.explained[world.message("trade.closed", 2)["headers"]["ce_id"]] = "spoiled on purpose"
    assert await judge() == []


@pytest.mark.parametrize("topic", ["quota.changed", "market.interest"])
async def test_poisoned_messages_with_an_explanation_are_no_violation(
    world: World, judge: Judge, topic: str
) -> None:
    for event_id in (uid("f003"), uid("f004")):
        world.put(topic, 0, {"ce_id": event_id}, "{}")
        world.explained[event_id] = f"poison on {topic}: an empty body"
    assert await judge() == []


async def test_a_dead_letter_of_a_later_handled_event_is_no_violation(world: World, judge: Judge) -> None:
    message = world.message("trade.closed")
    headers = {**message["headers"], "dlq_group": "analytics", "dlq_topic": "trade.closed"}
    world.put("trade.closed.dlq", 1, headers, message["value"])
    assert await judge() == []


async def test_a_refused_forged_event_is_no_violation(world: World, judge: Judge) -> None:
    forged = world.put("alert.triggered", 2, {"ce_id": uid("f001")}, json.dumps({"user_id": 1, "public_id": ANN}))
    await world.sql(
        """
        INSERT INTO notifications.parked (user_id, consumer, event_id, topic, key, headers, payload,
                                          kafka_partition, kafka_offset, reason, state)
        VALUES (2, 'notifications', gen_random_uuid(), 'alert.triggered', '2', '{}', '', 2, $1, 'forged', 'DROPPED')
        """,
        forged["offset"],
    )
    assert await judge() == []


async def test_unreadable_messages_do_not_stop_the_checker(world: World, judge: Judge) -> None:
    unreadable = (
        '{"user_id": "\\u0000"}',
        "\x00",
        "no JSON",
        "[1, 2]",
        '{"trade_id": 7, "aggregate_seq": "no"}',
    )
    for value in unreadable:
        world.put("trade.opened", 4, {"ce_id": "no id", "other": "\x00"}, value)
    assert {violation.detail for violation in await judge()} == {
        f"notifications: the message at trade.opened/4/{offset} has no id and was not parked"
        for offset in range(len(unreadable))
    }


async def test_an_unreadable_event_in_an_outbox_does_not_stop_the_checker(world: World, judge: Judge) -> None:
    await world.sql(
        """
        INSERT INTO trading.outbox (user_id, bucket, event_id, topic, key, headers, payload, dead_reason)
        SELECT 0, 0, gen_random_uuid(), 'session.started', '0', '{}', payload, 'unreadable'
        FROM (VALUES ('{not json'::bytea), ('\\xff'), ('{"aggregate_seq": "no"}')) AS poison (payload)
        """
    )
    assert {violation.invariant for violation in await judge()} == {"I5"}


async def test_a_missing_ledger_cannot_be_checked(superuser_dsn: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await asyncio.to_thread(check, tmp_path, superuser_dsn)


async def make_configuration(world: World, name: str) -> None:
    await world.sql(
        "INSERT INTO trading.user_bot_configurations (user_id, bot_configuration_id, config_name, config_data) "
        "VALUES (1, $1, $2, '{}')",
        uid("a003"),
        name,
    )


async def set_aside(world: World, state: str) -> None:
    """Park Bob's `trade.closed` event in analytics."""
    message = world.message("trade.closed", 2)
    await world.sql(
        """
        INSERT INTO analytics.parked (user_id, consumer, event_id, topic, key, headers, payload,
                                      kafka_partition, kafka_offset, reason, state)
        VALUES (2, 'analytics', $1, 'trade.closed', '2', '{}', $2, 2, 0, 'spoiled', $3)
        """,
        message["headers"]["ce_id"],
        message["value"].encode(),
        state,
    )


async def without_the_first_trade(world: World) -> None:
    """Remove its effects, as if analytics had never received it."""
    event_id = world.message("trade.closed", 2)["headers"]["ce_id"]
    await world.sql("DELETE FROM analytics.inbox WHERE event_id = $1", event_id)
    await world.sql("DELETE FROM analytics.trade_facts WHERE user_id = 2")
    await world.sql("DELETE FROM analytics.user_daily_performance WHERE user_id = 2")
