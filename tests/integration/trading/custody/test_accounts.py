"""Exchange accounts over HTTP: connect, check, rename, replace the key, delete."""

import asyncio
from collections import Counter

import pytest

from services.trading.custody.operations import MAX_ACCOUNTS
from tests.architecture.old_design import OLD
from tests.integration.trading.conftest import Trading
from tests.integration.trading.custody.conftest import KEY, PATH, SECRET, Desk, body, open_desk, refusals

OTHER_KEY, OTHER_SECRET = "theApiKeyOfAnn0002", "theApiSecretOfAnn0002xyzxyzxyzxyz"
THIRD_KEY = "theApiKeyOfBob0003"
TABLES = ("exchange_accounts", "exchange_secrets", "exchange_account_checks", "exchange_uid_locator")


async def rows(desk: Desk) -> dict[str, int]:
    counted = " UNION ALL ".join(f"SELECT '{name}', count(*) FROM {name}" for name in TABLES)
    return {row[0]: row[1] for row in await desk.trading.fetch(counted)}


NOTHING, ONE = dict.fromkeys(TABLES, 0), dict.fromkeys(TABLES, 1)


async def test_a_connected_account_is_shown_without_its_secret(desk: Desk) -> None:
    desk.accounts.change(KEY, uid="777", permissions={"ContractTrade": ("Position", "Order")})
    ann, path = await desk.added()
    shown = await ann.must("GET", path)
    assert shown["masked_api_key"] == "theA…0001"
    assert (shown["exchange_uid"], shown["status"], shown["is_usable"]) == ("777", "READY", True)
    assert shown["permissions"] == ["ContractTrade.Order", "ContractTrade.Position"]
    assert (shown["region"], shown["product"], shown["ip_addresses"]) == ("GLOBAL", "LINEAR", ["203.0.113.7"])
    listed = await ann.must("GET", f"{PATH}?environment=SANDBOX&status=READY")
    assert listed["items"] == [shown]
    assert KEY not in str(listed)
    assert SECRET not in str(listed)
    assert (await ann.must("GET", f"{PATH}?environment=DEMO"))["items"] == []
    assert await rows(desk) == ONE


async def test_the_columns_of_the_old_design_are_filled(desk: Desk) -> None:
    await desk.added()
    places = [place for old in OLD.values() for place in old.places if place.startswith("trading.exchange_")]
    assert len(places) == 2
    for place in places:
        table, _, column = place.rpartition(".")
        assert await desk.trading.fetch(f"SELECT FROM {table} WHERE {column} IS NOT NULL"), place


async def test_a_refused_account_is_not_stored_and_the_answer_names_every_reason(desk: Desk) -> None:
    desk.accounts.change(KEY, permissions={"Wallet": ("Withdraw",)}, is_unified=False, pays_fees_in_mnt=True)
    ann = await desk.caller()
    answer = await ann.call("POST", PATH, body())
    assert (answer.status, answer.body["type"]) == (422, "/problems/exchange-account-refused")
    assert set(refusals(answer)) == {"permissions", "account_type", "fee_coin"}
    assert await rows(desk) == NOTHING


async def test_a_key_that_the_exchange_rejects_is_refused_without_repeating_it(desk: Desk) -> None:
    desk.accounts.secrets[KEY] = "another"
    answer = await (await desk.caller()).call("POST", PATH, body())
    assert (answer.status, list(refusals(answer))) == (422, ["api_key"])
    assert "error sign" in answer.raw
    assert KEY not in answer.raw
    assert SECRET not in answer.raw
    assert await rows(desk) == NOTHING


async def test_an_exchange_that_does_not_answer_is_named_and_nothing_is_stored(desk: Desk) -> None:
    ann, path = await desk.added()
    desk.accounts.is_down = True
    before = await ann.must("GET", path)
    for method, where, sent in (
        ("POST", PATH, body("another", api_key=OTHER_KEY)),
        ("POST", f"{path}/check", None),
        ("PUT", f"{path}/key", {"api_key": OTHER_KEY, "api_secret": OTHER_SECRET}),
    ):
        answer = await ann.call(method, where, sent)
        assert (answer.status, answer.body["type"]) == (424, "/problems/exchange-unreachable"), where
        assert answer.headers["Retry-After"] == "5"
        assert OTHER_SECRET not in answer.raw
    assert await ann.must("GET", path) == before
    assert await rows(desk) == ONE
    assert (await ann.call("DELETE", path)).status == 204


@pytest.mark.parametrize(("field", "value"), [("region", "EU"), ("product", "SPOT")])
async def test_what_a_site_does_not_offer_is_refused_before_the_exchange_is_asked(
    desk: Desk, field: str, value: str
) -> None:
    answer = await (await desk.caller()).call("POST", PATH, body(**{field: value}))
    assert (answer.status, list(refusals(answer)), desk.accounts.asked) == (422, [field], [])


async def test_limit_orders_beyond_the_band_are_set_to_be_rejected(desk: Desk) -> None:
    desk.accounts.change(KEY, rejects_beyond_band=False)
    await desk.added()
    assert desk.accounts.set_for == [KEY]


async def test_a_setting_that_cannot_be_changed_is_refused_with_how_to_do_it(desk: Desk) -> None:
    desk.accounts.change(KEY, rejects_beyond_band=False)
    desk.accounts.refuses_settings = True
    ann = await desk.caller()
    assert "lpaPerp=true" in refusals(await ann.call("POST", PATH, body()))["limit_price_action"]


async def test_nothing_is_set_on_an_account_that_is_refused_anyway(desk: Desk) -> None:
    desk.accounts.change(KEY, rejects_beyond_band=False, is_delta_neutral=True)
    answer = await (await desk.caller()).call("POST", PATH, body())
    assert set(refusals(answer)) == {"limit_price_action", "is_delta_neutral"}
    assert desk.accounts.set_for == []


async def test_two_keys_of_one_account_are_one_account(desk: Desk) -> None:
    desk.accounts.change(KEY, uid="5")
    desk.accounts.change(OTHER_KEY, uid="5")
    ann, path = await desk.added()
    bob = await desk.caller(2)
    own = await ann.call("POST", PATH, body("second", api_key=OTHER_KEY))
    assert (own.status, own.body["exchange_account_id"]) == (409, path.rpartition("/")[2])
    foreign = await bob.call("POST", PATH, body(api_key=OTHER_KEY))
    assert (foreign.status, foreign.body["type"]) == (409, "/problems/exchange-account-known")
    assert "exchange_account_id" not in foreign.body
    desk.accounts.change(THIRD_KEY, uid="5")
    assert (await bob.call("POST", PATH, body(api_key=THIRD_KEY, environment="DEMO"))).status == 201
    assert (await ann.call("DELETE", path)).status == 204
    assert (await bob.call("POST", PATH, body("now", api_key=OTHER_KEY))).status == 201


async def test_one_key_is_not_used_twice(desk: Desk) -> None:
    ann, _ = await desk.added()
    desk.accounts.change(KEY, uid="another")
    answer = await ann.call("POST", PATH, body("second"))
    assert (answer.status, answer.body["type"]) == (409, "/problems/exchange-account-known")


async def test_of_fifty_racing_requests_for_one_account_one_wins(desk: Desk) -> None:
    callers = [await desk.caller(user_id) for user_id in range(1, 6)]
    answers = await asyncio.gather(
        *(caller.call("POST", PATH, body(f"{number}")) for caller in callers for number in range(10))
    )
    # A tenant may have a bounded number of requests at once; those that were not admitted change nothing.
    statuses = Counter(answer.status for answer in answers)
    assert statuses[201] == 1
    assert set(statuses) <= {201, 409, 429}
    assert await rows(desk) == ONE


async def test_a_repeated_request_is_answered_from_the_first(desk: Desk) -> None:
    ann = await desk.caller()
    first = await ann.call("POST", PATH, body(), Idempotency_Key="k")
    again = await ann.call("POST", PATH, body(), Idempotency_Key="k")
    assert (first.status, again.status, again.body) == (201, 201, first.body)
    assert len(desk.accounts.asked) == 1


async def test_names_are_unique_and_changed_by_their_state(desk: Desk) -> None:
    ann, path = await desk.added()
    _, other = await desk.added(name="other", api_key=OTHER_KEY)
    assert (await ann.call("PATCH", other, {"account_name": "bots"})).body["type"] == "/problems/name-taken"
    tag = (await ann.call("GET", path)).headers["ETag"]
    renamed = await ann.call("PATCH", path, {"account_name": "renamed"}, If_Match=tag)
    assert (renamed.status, renamed.body["account_name"]) == (200, "renamed")
    assert (await ann.call("PATCH", path, {"account_name": "again"}, If_Match=tag)).status == 412


async def test_a_replaced_key_is_used_from_then_on_and_the_earlier_one_is_destroyed(desk: Desk) -> None:
    desk.accounts.change(KEY, uid="5")
    desk.accounts.change(OTHER_KEY, uid="5", addresses=())
    ann, path = await desk.added()
    key = {"api_key": OTHER_KEY, "api_secret": OTHER_SECRET}
    shown = await ann.must("PUT", f"{path}/key", key)
    assert (shown["masked_api_key"], [each["field"] for each in shown["warnings"]]) == (
        "theA…0002",
        ["ip_addresses"],
    )
    assert [row["version"] for row in await desk.trading.fetch("SELECT version FROM exchange_secrets")] == [2]
    desk.accounts.asked.clear()
    await ann.must("POST", f"{path}/check")
    assert [api_key for api_key, _ in desk.accounts.asked] == [OTHER_KEY]
    assert (await ann.call("PUT", f"{path}/key", key)).status == 200  # the same again


async def test_a_key_of_another_account_does_not_replace_one(desk: Desk) -> None:
    ann, path = await desk.added()
    answer = await ann.call("PUT", f"{path}/key", {"api_key": OTHER_KEY, "api_secret": OTHER_SECRET})
    assert (answer.status, list(refusals(answer))) == (422, ["exchange_uid"])
    desk.accounts.change(OTHER_KEY, is_read_only=True)
    answer = await ann.call("PUT", f"{path}/key", {"api_key": OTHER_KEY, "api_secret": OTHER_SECRET})
    assert list(refusals(answer)) == ["is_read_only"]
    assert (await ann.must("GET", path))["masked_api_key"] == "theA…0001"


async def test_of_racing_replacements_one_wins_and_the_key_opens(desk: Desk) -> None:
    ann, path = await desk.added()
    key = {"api_key": KEY, "api_secret": SECRET}
    answers = await asyncio.gather(*(ann.call("PUT", f"{path}/key", key) for _ in range(4)))
    assert {answer.status for answer in answers} <= {200, 409}
    assert (await ann.must("POST", f"{path}/check"))["status"] == "READY"
    assert (await rows(desk))["exchange_secrets"] == 1


async def test_a_check_shows_what_is_wrong_and_that_it_was_corrected(desk: Desk) -> None:
    ann, path = await desk.added()
    desk.accounts.change(KEY, hedge_symbols=("BTCUSDT",))
    found = await ann.must("POST", f"{path}/check")
    assert (found["status"], found["is_usable"]) == ("REFUSED", False)
    assert [each["field"] for each in found["refusals"]] == ["position_mode"]
    desk.accounts.change(KEY, hedge_symbols=())
    assert (await ann.must("POST", f"{path}/check"))["refusals"] == []


async def test_a_deleted_account_leaves_nothing_behind(desk: Desk) -> None:
    ann, path = await desk.added()
    assert (await ann.call("DELETE", path)).status == 204
    assert await rows(desk) == NOTHING
    assert (await ann.call("GET", path)).status == 404


async def test_an_account_is_not_deleted_while_a_session_trades_on_it(desk: Desk) -> None:
    ann, path = await desk.added()
    caller = await desk.trading.subscribe(1)
    session = await desk.trading.start(caller, await desk.trading.strategy(1))
    await desk.trading.fetch(
        "UPDATE user_trading_sessions SET exchange_account_id = $1, is_paper_trading = false RETURNING 1",
        path.rpartition("/")[2],
    )
    answer = await ann.call("DELETE", path)
    assert (answer.status, answer.body["type"]) == (409, "/problems/exchange-account-in-use")
    await ann.must("POST", f"/v1/sessions/{session.session_id}/stop")
    assert (await ann.call("DELETE", path)).status == 409  # STOPPING: its orders may still be on the exchange
    await desk.trading.fetch(
        "UPDATE user_trading_sessions SET status = 'STOPPED', end_time = start_time, final_balance = 0 RETURNING 1"
    )
    assert (await ann.call("DELETE", path)).status == 204
    (left,) = await desk.trading.fetch("SELECT exchange_account_id FROM user_trading_sessions")
    assert left["exchange_account_id"] is None


async def test_an_account_of_another_is_not_found_and_the_exchange_is_not_asked(desk: Desk) -> None:
    _, path = await desk.added()
    bob = await desk.caller(2)
    asked = len(desk.accounts.asked)
    key = {"api_key": OTHER_KEY, "api_secret": OTHER_SECRET}
    for method, where, sent in (
        ("GET", "", None),
        ("POST", "/check", None),
        ("PUT", "/key", key),
        ("DELETE", "", None),
    ):
        assert (await bob.call(method, path + where, sent)).status == 404, method
    assert len(desk.accounts.asked) == asked


async def test_a_tenant_has_a_bounded_number_of_accounts(desk: Desk) -> None:
    ann = await desk.caller()
    for number in range(MAX_ACCOUNTS):
        await ann.must("POST", PATH, body(f"{number}", api_key=f"theApiKeyOfAnn{number:04}"))
    answer = await ann.call("POST", PATH, body("one more", api_key=THIRD_KEY))
    assert (answer.status, answer.body["type"]) == (409, "/problems/exchange-accounts-full")
    assert answer.body["limit"] == MAX_ACCOUNTS


async def test_live_accounts_need_the_operator(desk: Desk) -> None:
    answer = await (await desk.caller()).call("POST", PATH, body(environment="LIVE"))
    assert (answer.status, answer.body["type"]) == (403, "/problems/live-trading-off")
    assert desk.accounts.asked == []
    assert await rows(desk) == NOTHING


async def test_live_accounts_need_the_risk_notice_of_the_tenant_too(trading: Trading) -> None:
    async with open_desk(trading, tradefleet_live="on") as desk:
        ann, path = await desk.added(environment="LIVE")
        shown = await ann.must("GET", path)
        assert (shown["status"], shown["needs_risk_notice"], shown["is_usable"]) == ("READY", True, False)
        notice = await ann.must("GET", f"{PATH}/risk-notice")
        assert notice["accepted_at"] is None
        wrong = await ann.call("POST", f"{PATH}/risk-notice", {"version": notice["version"] + 1})
        assert wrong.status == 422
        first = await ann.must("POST", f"{PATH}/risk-notice", {"version": notice["version"]})
        again = await ann.must("POST", f"{PATH}/risk-notice", {"version": notice["version"]})
        assert first == again == await ann.must("GET", f"{PATH}/risk-notice")
        assert (await ann.must("GET", path))["is_usable"]
    async with open_desk(trading) as closed:
        ann = await closed.caller()
        assert not (await ann.must("GET", path))["is_usable"]
        assert (await ann.call("POST", f"{path}/check")).status == 403
        assert (await ann.call("PUT", f"{path}/key", {"api_key": KEY, "api_secret": SECRET})).status == 403
        assert closed.accounts.asked == []
        assert (await ann.call("DELETE", path)).status == 204


@pytest.mark.parametrize(
    "changes",
    [{"api_key": KEY + "\u200b"}, {"api_secret": "short"}, {"api_secret": "x y" * 10}, {"api_key": "k" * 65}],
)
async def test_a_malformed_key_is_refused_without_repeating_it(desk: Desk, changes: dict[str, str]) -> None:
    answer = await (await desk.caller()).call("POST", PATH, body(**changes))
    assert answer.status == 422
    assert not [value for value in changes.values() if value in answer.raw]
    assert desk.accounts.asked == []
