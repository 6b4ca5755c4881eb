"""The health probe checks all accounts, marks them, and notifies each tenant once of each cause."""

import asyncio
from datetime import timedelta
from uuid import UUID

from shared.chassis.clock import utc_now
from tests.integration.trading.conftest import Trading
from tests.integration.trading.custody.conftest import KEY, PATH, Desk, body, open_desk
from tests.integration.trading.live import start_live

OTHER_KEY = "theApiKeyOfBob0002"


async def test_a_revoked_key_is_marked_and_notified_once(desk: Desk) -> None:
    ann, path = await desk.added()
    desk.accounts.rejected[KEY] = "API key is invalid."
    for _ in range(3):
        await desk.probe_all()
    shown = await ann.must("GET", path)
    assert (shown["status"], shown["is_usable"]) == ("KEY_REJECTED", False)
    assert "API key is invalid." in shown["refusals"][0]["reason"]
    assert await desk.alarms() == [("key_rejected", [])]
    del desk.accounts.rejected[KEY]
    await desk.probe_all()
    assert (await ann.must("GET", path))["status"] == "READY"
    desk.accounts.rejected[KEY] = "API key is invalid."
    await desk.probe_all()
    assert await desk.alarms() == [("key_rejected", [])] * 2


async def test_running_sessions_enter_only_while_their_account_is_usable(desk: Desk) -> None:
    _, path = await desk.added()
    caller = await desk.trading.subscribe(1)
    await start_live(desk.trading, caller, UUID(path.rpartition("/")[2]))
    allowed = []
    for is_delta_neutral in (True, True, False):
        desk.accounts.change(KEY, is_delta_neutral=is_delta_neutral)
        await desk.probe_all()
        (lease,) = await desk.trading.fetch("SELECT allows FROM session_leases")
        allowed.append(lease["allows"])
    assert allowed == ["ACCOUNT_REFUSED", "ACCOUNT_REFUSED", "ALLOWED"]
    kinds = [row["kind"] for row in await desk.trading.fetch("SELECT kind FROM session_restrictions ORDER BY kind")]
    assert kinds == ["ACCOUNT_REFUSED", "ACCOUNT_REFUSED_LIFTED"]


async def test_a_key_that_expires_and_grows_is_notified_of_in_the_order_of_events(desk: Desk) -> None:
    ann, path = await desk.added()
    desk.accounts.change(KEY, expires_at=utc_now() + timedelta(days=20))
    await desk.probe_all()
    desk.accounts.change(KEY, expires_at=utc_now() + timedelta(days=6))
    desk.accounts.change(KEY, permissions={"ContractTrade": ("Order", "Position"), "Wallet": ("Withdraw",)})
    await desk.probe_all()
    await desk.probe_all()
    desk.accounts.change(KEY, expires_at=utc_now() + timedelta(hours=20), is_delta_neutral=True)
    await desk.probe_all()
    assert await desk.alarms() == [
        ("key_expires_in_30_days", []),
        ("key_expires_in_7_days", []),
        ("permissions_grew", ["Wallet.Withdraw"]),
        ("key_expires_in_1_days", []),
        ("account_refused", ["is_delta_neutral"]),
    ]
    shown = await ann.must("GET", path)
    assert [each["field"] for each in shown["refusals"]] == ["permissions", "is_delta_neutral"]


async def test_what_the_answer_to_a_new_key_warned_of_is_not_notified(desk: Desk) -> None:
    desk.accounts.change(KEY, expires_at=utc_now() + timedelta(days=6))
    await desk.added()
    await desk.probe_all()
    assert await desk.alarms() == []


async def test_an_exchange_that_is_away_marks_nothing(desk: Desk) -> None:
    ann, path = await desk.added()
    before = await ann.must("GET", path)
    desk.accounts.is_down = True
    await desk.probe_all()
    assert await ann.must("GET", path) == before
    (row,) = await desk.trading.fetch("SELECT due_at - now() AS wait FROM exchange_account_checks")
    assert row["wait"] <= timedelta(minutes=2)


async def test_several_probes_check_each_account_once(desk: Desk) -> None:
    for user_id in range(1, 31):
        await desk.added(user_id, api_key=f"apiKeyOfTenant{user_id:04}")
    desk.accounts.asked.clear()
    await desk.trading.fetch("UPDATE exchange_account_checks SET due_at = now()")
    probes = [desk.probe() for _ in range(3)]
    for _ in range(3):
        await asyncio.gather(*(probe.check_due() for probe in probes))
    assert len(desk.accounts.asked) == 30
    assert len({key for key, _ in desk.accounts.asked}) == 30
    (spread,) = await desk.trading.fetch(
        "SELECT count(DISTINCT due_at) AS n, min(due_at) > now() AS later FROM exchange_account_checks"
    )
    assert (spread["n"] > 20, spread["later"]) == (True, True)


async def test_a_check_whose_process_died_is_repeated(desk: Desk) -> None:
    """A claim moves the time ahead; nothing else is left behind by a process that is killed."""
    await desk.added()
    desk.accounts.is_down = True  # the process gets no further
    await desk.probe_all()
    desk.accounts.is_down = False
    assert await desk.probe().check_due() is None
    asked = len(desk.accounts.asked)
    await desk.trading.fetch("UPDATE exchange_account_checks SET due_at = due_at - interval '2 minutes'")
    await desk.probe().check_due()
    assert len(desk.accounts.asked) == asked + 1


async def test_a_revoked_key_gives_the_account_free_and_another_tenant_keeps_it(desk: Desk) -> None:
    desk.accounts.change(KEY, uid="5")
    desk.accounts.change(OTHER_KEY, uid="5")
    ann, path = await desk.added()
    desk.accounts.rejected[KEY] = "API key is invalid."
    await desk.probe_all()
    bob = await desk.caller(2)
    await bob.must("POST", PATH, body(api_key=OTHER_KEY))
    del desk.accounts.rejected[KEY]
    await desk.probe_all()
    shown = await ann.must("GET", path)
    assert (shown["status"], [each["field"] for each in shown["refusals"]]) == ("REFUSED", ["exchange_uid"])
    await bob.must("GET", PATH)


async def test_a_key_replaced_during_its_check_is_not_judged_by_the_earlier_one(desk: Desk) -> None:
    ann, path = await desk.added()
    probe = desk.probe()
    reading = desk.accounts.read_account_facts

    async def replace_first(credentials, site):  # type: ignore[no-untyped-def]  # as read_account_facts
        facts = await reading(credentials, site)
        desk.accounts.read_account_facts = reading  # type: ignore[method-assign]  # once
        await ann.must("PUT", f"{path}/key", {"api_key": KEY, "api_secret": "theNextSecretOfAnnxyzxyzxyz"})
        return facts.__class__(**{**{name: getattr(facts, name) for name in facts.__slots__}, "is_unified": False})

    desk.accounts.read_account_facts = replace_first  # type: ignore[method-assign]  # once
    await desk.trading.fetch("UPDATE exchange_account_checks SET due_at = now()")
    await probe.check_due()
    assert (await ann.must("GET", path))["status"] == "READY"
    assert await desk.alarms() == []


async def test_live_accounts_are_not_touched_while_the_operator_has_them_off(trading: Trading) -> None:
    async with open_desk(trading, tradefleet_live="on") as desk:
        await desk.added(environment="LIVE")
        desk.accounts.asked.clear()
        await desk.probe_all()
        assert desk.accounts.asked == []
        await desk.trading.fetch("UPDATE exchange_account_checks SET due_at = now()")
        await desk.probe(allows_live=True).check_due()
        assert len(desk.accounts.asked) == 1


async def test_a_damaged_secret_stops_no_other_check(desk: Desk) -> None:
    ann, path = await desk.added()
    await desk.added(2, api_key=OTHER_KEY)
    await desk.trading.fetch("UPDATE exchange_secrets SET ciphertext = 'x' WHERE user_id = 1")
    desk.accounts.asked.clear()
    await desk.probe_all()
    assert [key for key, _ in desk.accounts.asked] == [OTHER_KEY]
    answer = await ann.call("POST", f"{path}/check")
    assert (answer.status, answer.body["type"]) == (409, "/problems/exchange-key-unreadable")
