"""Violations to plant, each with the invariant it breaks and the texts that the finding must contain."""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tests.integration.faults_checker.world import ANN, BOB, PUBLIC_IDS, World, uid

Spoil = Callable[[World], Awaitable[object]]
JSON_WEB_TOKEN = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"


@dataclass(frozen=True)
class Planted:
    invariant: str
    named: tuple[str, ...]
    spoil: Spoil

    @property
    def name(self) -> str:
        return f"{self.invariant}-{self.spoil.__name__}"


PLANTED: list[Planted] = []


def planted(invariant: str, *named: str) -> Callable[[Spoil], Spoil]:
    def register(spoil: Spoil) -> Spoil:
        PLANTED.append(Planted(invariant, named, spoil))
        return spoil

    return register


def read_statements(text: str) -> None:
    """Register the violations of planted.sql; its header describes the format."""
    text = re.sub(r"\{(\w{4,5})\}", lambda match: uid(match[1]), text.replace("{ANN}", ANN).replace("{BOB}", BOB))
    for block in text.split("\n-- I")[1:]:
        heading, _, rest = block.partition("\n")
        number, _, name = heading.partition(" ")
        named = re.findall(r"^-- > (.*)$", rest, re.MULTILINE)
        planted(f"I{number}", *named)(_by_statements(name, re.sub(r"^--.*\n", "", rest, flags=re.MULTILINE)))


def _by_statements(name: str, statements: str) -> Spoil:
    async def spoil(world: World) -> None:
        await world.sql(statements)

    spoil.__name__ = name.replace(" ", "_")
    return spoil


read_statements(Path(__file__).with_suffix(".sql").read_text())

# I1: answers of calls.


@planted("I1", "made robot 1, a kind that the checker does not know")
async def an_unknown_kind(world: World) -> None:
    world.call("POST /v1/robots", "1", "robot")


# I1: events and their effects.


@planted("I1", "auth: activity", "is not in the log")
async def an_activity_is_not_in_the_log(world: World) -> None:
    await world.publish("activity.recorded", 1, f"activity:auth:{ANN}", 1, activity_id=uid("f001"))


@planted("I1", "trading: outbox row", "is marked sent and not on trade.opened (key 1)")
async def a_sent_event_is_not_on_its_topic(world: World) -> None:
    world.messages.remove(world.message("trade.opened"))


@planted("I1", "the bar of 2026-01-31 10:00:00+00 of BTCUSDT 15 is marked published and not on candle.closed")
async def a_bar_is_not_on_its_topic(world: World) -> None:
    world.messages.remove(world.message("candle.closed"))


@planted("I1", "topic trade.split is not known to the checker")
async def an_unknown_topic(world: World) -> None:
    world.put("trade.split", 1, {"ce_id": uid("f001")}, json.dumps({"user_id": 1, "public_id": ANN}))


@planted("I1", "notifications: the message at alert.triggered/2/0 has no id and was not parked")
async def a_message_without_an_id_is_ignored(world: World) -> None:
    world.put("alert.triggered", 2, {}, "{}")


@planted("I1", "user 2 registered, and its user.registered was never published")
async def a_registration_was_never_published(world: World) -> None:
    await _unpublish(world, "user.registered", 1)


@planted("I1", f"session {uid('a100')} of user 1 is STOPPED, and its session.stopped was never published")
async def a_stop_was_never_published(world: World) -> None:
    await _unpublish(world, "session.stopped", 0)
    await world.sql("UPDATE trading.user_trading_sessions SET event_seq = 5 WHERE user_id = 1")


@planted("I1", f"trade {uid('b1002')} of user 2 is OPEN, and its trade.opened was never published")
async def an_entry_was_never_published(world: World) -> None:
    await _unpublish(world, "trade.opened", 3)
    await world.sql("UPDATE trading.user_trading_sessions SET event_seq = 3 WHERE user_id = 2")


# I2


@planted("I2", "the key key-of-a300", f"alert {uid('a300')} (call 10) and alert {uid('a301')} (call 11)")
async def one_key_created_two_objects(world: World) -> None:
    world.calls[10] = replace(world.calls[10], idempotency_key="key-of-a300")


@planted("I2", f"no call accounts for session {uid('a101')}", f"(key key-of-a100) made {uid('a100')}")
async def a_repeated_call_created_two_objects(world: World) -> None:
    await world.sql(
        f"""
        INSERT INTO trading.user_trading_sessions (user_id, session_id, public_id, strategy_id, strategy_version,
            strategy_hash, venue, symbol, interval, strategy_config, is_paper_trading, start_time, initial_balance,
            fee_rate, slippage, highest_equity, event_seq)
        SELECT user_id, '{uid("a101")}', public_id, strategy_id, strategy_version, strategy_hash, venue, symbol,
               interval, strategy_config, is_paper_trading, '2026-02-02Z', initial_balance, fee_rate, slippage,
               initial_balance, 1
        FROM trading.user_trading_sessions WHERE user_id = 1;
        INSERT INTO trading.session_leases (user_id, session_id) VALUES (1, '{uid("a101")}');
        INSERT INTO analytics.session_facts (user_id, session_id, mode, symbol, initial_balance, started_at)
        VALUES (1, '{uid("a101")}', 'PAPER', 'BTCUSDT', 10000, '2026-02-02Z');
        INSERT INTO notifications.user_system_events (user_id, event_id, position, timestamp, event_type,
                                                      event_category, message, session_id)
        VALUES (1, gen_random_uuid(), 9, '2026-01-31Z', 'SESSION_STARTED', 'TRADING', 'it began', '{uid("a101")}')
        """
    )
    await world.publish("session.started", 1, f"session:{uid('a101')}", 1, session_id=uid("a101"))


@planted("I2", f"no call accounts for configuration {uid('a004')} of tenant {ANN}")
async def a_call_with_a_lost_answer_created_two_objects(world: World) -> None:
    sent = {"max_position_size": "5"}
    world.call("POST /v1/bot-configurations", kind="configuration", outcome="unknown", sent=sent)
    for id_ in (uid("a003"), uid("a004")):
        await world.sql(
            "INSERT INTO trading.user_bot_configurations (user_id, bot_configuration_id, config_name, config_data, "
            "max_position_size) VALUES (1, $1, 'limits ' || $1::uuid, '{}', 5)",
            id_,
        )


@planted("I2", f"trade.opened of {uid('b1002')} (key 2) was published 2 times", uid("f001"))
async def one_event_was_published_under_two_ids(world: World) -> None:
    message = world.message("trade.opened", 3)
    world.put("trade.opened", 2, {"ce_id": uid("f001")}, message["value"])
    await world.sql(
        "INSERT INTO notifications.inbox SELECT user_id, consumer, $1, body_sha256 FROM notifications.inbox "
        "WHERE event_id = $2",
        uid("f001"),
        message["headers"]["ce_id"],
    )


@planted("I2", "the e-mail of user 1 belongs to 2 users: 1, 2")
async def one_e_mail_has_two_users(world: World) -> None:
    world.calls[1] = replace(world.calls[1], sent={"email": "Ann@example.org"})
    await world.sql("UPDATE auth.users SET email = 'Ann@example.org' WHERE user_id = 2")


# I3


@planted("I3", f"the quantity of trade {uid('b1002')} is published as 2.5 and stored as 2")
async def a_trade_is_published_with_a_larger_quantity(world: World) -> None:
    await _change_last_opened_trade(world, quantity="2.5")


@planted("I3", "the close of BTCUSDT 15 at 2026-01-31 10:00:00+00 is published as 95.50000001 and stored as 95.5")
async def a_bar_is_published_with_another_price(world: World) -> None:
    _rewrite(world.message("candle.closed"), close="95.50000001")


# I4


@planted("I4", "trade.opened/1/1", f"is number 2 of session:{uid('a100')} (key 1), after number 4")
async def two_events_of_one_key_are_swapped(world: World) -> None:
    first, second = world.message("trade.opened", 0), world.message("trade.opened", 1)
    first["offset"], second["offset"] = second["offset"], first["offset"]


@planted("I4", f"session:{uid('b100')} (key 2) has numbers up to 5, and no event has number 4")
async def a_number_is_missing(world: World) -> None:
    message = world.message("trade.opened", 3)
    await _change_last_opened_trade(world, aggregate_seq=5)
    await world.sql("UPDATE trading.user_trading_sessions SET event_seq = 5 WHERE user_id = 2")
    await world.sql(
        "UPDATE trading.outbox SET payload = $2 WHERE event_id = $1",
        message["headers"]["ce_id"],
        message["value"].encode(),
    )


@planted("I4", "key 1 of trade.opened lies in partitions 1, 2")
async def a_key_is_in_two_partitions(world: World) -> None:
    world.message("trade.opened", 1).update(partition=2, offset=7)


@planted("I5", "trade.closed.dlq/1/0: the dead letter of event", "(analytics) belongs to nothing")
async def an_unknown_dead_letter(world: World) -> None:
    world.put("trade.closed.dlq", 1, {"ce_id": uid("f001"), "dlq_group": "analytics"}, "{}")


# I6


@planted("I6", f"GET /v1/trades showed tenant {BOB} the canary canaryofann of tenant {ANN}")
async def an_answer_shows_data_of_another_tenant(world: World) -> None:
    world.shown.append({"tenant": BOB, "canary": "canaryofbob", "where": "GET /v1/trades", "text": "[canaryofann]"})


@planted("I6", f"call 19 (POST /v1/alerts) showed tenant {BOB} the canary canaryofann")
async def a_call_is_answered_with_data_of_another_tenant(world: World) -> None:
    answer = {**(world.calls[18].answer or {}), "note": "canaryofann"}
    world.calls[18] = replace(world.calls[18], answer=answer)


@planted("I6", "trade.opened/2/1 (key 2) holds the canary canaryofann", "user 1")
async def an_event_holds_data_of_another_tenant(world: World) -> None:
    await _change_last_opened_trade(world, note="canaryofann")


@planted("I6", "auth-http.log line 2 holds the canary canaryofbob")
async def a_log_holds_a_canary(world: World) -> None:
    world.logs["auth-http"] = '{"event": "request"}\n{"event": "canaryofbob"}\n'


@planted("I6", "trading-http.log line 1 holds a token: eyJhbGciOiJF…")
async def a_log_holds_a_token(world: World) -> None:
    world.logs["trading-http"] = f'{{"header": "Bearer {JSON_WEB_TOKEN}"}}\n'


@planted("I6", "auth-http.log line 1 holds a secret field")
async def a_log_holds_a_password(world: World) -> None:
    world.logs["auth-http"] = '{"body": "{\\"password\\": \\"hunter2\\"}"}\n'


@planted("I6", "trade.opened/2/1", f"has the key 2 and is of user 2, public id {ANN}")
async def an_event_has_the_public_id_of_another_user(world: World) -> None:
    await _change_last_opened_trade(world, public_id=PUBLIC_IDS[1])


# The exchange.


@planted("I1", "execution x9 of BTCUSDT on account 700 of user 3 is not booked")
async def an_execution_is_not_booked(world: World) -> None:
    world.exchange += [
        _ledger("execution", "Buy", exec_id="x9", order_link_id="link-1", exec_qty="1"),
    ]


@planted("I1", "no intent accounts for order o9 (link link-9) on account 700 of user 3")
async def an_order_without_an_intent(world: World) -> None:
    world.exchange += [_ledger("order", "Buy", order_id="o9", order_link_id="link-9")]


@planted("I2", "the intent of link link-1 of user 3 has 2 orders on account 700: o1, o9")
async def an_intent_has_two_orders(world: World) -> None:
    world.exchange += [_ledger("order", "Buy", order_id="o9", order_link_id="link-1")]


@planted("I2", "execution x2 of user 3 has the quantity 2.5, and 2 of it is booked")
async def an_execution_is_booked_in_part(world: World) -> None:
    _entry(world, exec_id="x2")["exec_qty"] = "2.5"


@planted("I3", f"the position of BTCUSDT on account {uid('c500')} of user 3 is 1 on the exchange, 2 by the fills")
async def the_exchange_has_another_position(world: World) -> None:
    _position(world)["size"] = "1"


@planted("I3", f"the position of BTCUSDT on account {uid('c500')} of user 3 is -2 on the exchange, 2 by the fills")
async def the_exchange_has_the_opposite_position(world: World) -> None:
    _position(world)["side"] = "Sell"


@planted("I3", "is 0 on the exchange, 2 by the fills")
async def the_exchange_has_no_position(world: World) -> None:
    world.exchange.remove(_position(world))


@planted("I3", "execution x1 of user 3: its price is 100.5 on the exchange, booked as 100")
async def an_execution_is_booked_at_another_price(world: World) -> None:
    _entry(world, exec_id="x1")["exec_price"] = "100.5"


@planted("I3", "execution x3 of user 3: its fee is 0.01 on the exchange, booked as 0")
async def an_execution_is_booked_with_another_fee(world: World) -> None:
    _entry(world, exec_id="x3")["exec_fee"] = "0.01"


@planted("I3", "execution x3 of user 3: its side is BUY on the exchange, booked as SELL")
async def an_execution_is_booked_on_the_other_side(world: World) -> None:
    _entry(world, exec_id="x3")["side"] = "Buy"


@planted("I3", "the order of link link-3 of user 3 is Cancelled with 0 filled; its intent is ACKED with 0 filled")
async def an_order_is_cancelled_and_its_intent_is_not(world: World) -> None:
    _entry(world, kind="order", order_id="o3")["order_status"] = "Cancelled"


@planted("I7", "the position of BTCUSDT on account 700 of user 3 has no stop")
async def a_position_has_no_stop(world: World) -> None:
    _position(world)["stop_loss"] = "0"


@planted("I7", "order o7 (link link-7) on account 800 of user 1 is open, and its session is stopped")
async def an_order_of_a_stopped_session_is_open(world: World) -> None:
    await world.sql(
        f"""
        INSERT INTO trading.exchange_accounts SELECT (jsonb_populate_record(account, '{{"user_id": 1,
            "exchange_account_id": "{uid("a500")}", "public_id": "{ANN}", "exchange_uid": "800"}}')).*
        FROM trading.exchange_accounts AS account;
        INSERT INTO trading.order_intents SELECT (jsonb_populate_record(intent, '{{"user_id": 1,
            "session_id": "{uid("a100")}", "exchange_account_id": "{uid("a500")}", "link_id": "link-7"}}')).*
        FROM trading.order_intents AS intent WHERE link_id = 'link-3'
        """
    )
    sent = {"account_name": "bots"}
    world.call("POST /v1/exchange-accounts", uid("a500"), "account", sent=sent, answer=sent)
    order = _ledger("open_orders", "Sell", order_id="o7", order_link_id="link-7")
    world.exchange.append({**order, "uid": "800"})


def _ledger(kind: str, side: str, **entry: str) -> dict[str, Any]:
    return {"kind": kind, "uid": "700", "symbol": "BTCUSDT", "side": side, **entry}


def _position(world: World) -> dict[str, Any]:
    return _entry(world, kind="positions")


def _entry(world: World, **fields: str) -> dict[str, Any]:
    (entry,) = (each for each in world.exchange if fields.items() <= each.items())
    return entry


# I7


@planted("I7", "kafka is not ready")
async def a_process_is_not_ready(world: World) -> None:
    assert world.settled is not None
    world.settled["ready"]["kafka"] = False


@planted("I7", "analytics/trade.closed is 3 messages behind")
async def a_group_is_behind(world: World) -> None:
    assert world.settled is not None
    world.settled["lag"]["analytics/trade.closed"] = 3


@planted("I7", "settling took 121.0 s, more than 120.0 s")
async def settling_took_too_long(world: World) -> None:
    assert world.settled is not None
    world.settled["seconds"] = 121.0


@planted("I7", "settled.json is missing")
async def settling_was_not_checked(world: World) -> None:
    world.settled = None


@planted("I7", "the days of user 1 (PAPER) are not computed")
async def days_were_not_computed(world: World) -> None:
    await world.sql("INSERT INTO analytics.stale_days VALUES (1, 'PAPER', '2026-02-01Z')")


async def _unpublish(world: World, topic: str, number: int) -> None:
    """Remove the message and its outbox row, as if it had never been written."""
    message = world.message(topic, number)
    world.messages.remove(message)
    for service in ("auth", "trading"):
        await world.sql(f"DELETE FROM {service}.outbox WHERE event_id = $1", message["headers"]["ce_id"])


async def _change_last_opened_trade(world: World, **changes: object) -> None:
    """Change the last `trade.opened` message, and the digest in its consumer's inbox."""
    message = world.message("trade.opened", 3)
    _rewrite(message, **changes)
    await world.sql(
        "UPDATE notifications.inbox SET body_sha256 = sha256($2) WHERE event_id = $1",
        message["headers"]["ce_id"],
        message["value"].encode(),
    )


def _rewrite(message: dict[str, Any], **changes: object) -> None:
    message["value"] = json.dumps({**json.loads(message["value"]), **changes}, separators=(",", ":"))
