"""The ledger is the truth for tests: every request with its outcome, every order and execution, and no secret."""

import json
from pathlib import Path

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.ledger import Ledger
from sandbox.bybit.replay import Market
from sandbox.bybit.server import Options
from tests.unit.sandbox.market import buy, hourly_bars, rest_order


async def test_a_request_is_recorded_with_its_outcome(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "mine")
    await rest_order(sandbox, account, "mine")
    accepted, refused = await sandbox.ledger(route="/v5/order/create")
    assert (accepted["uid"], accepted["outcome"], accepted["answer"]) == (account.uid, 0, "sent")
    assert refused["outcome"] == 110072
    assert accepted["body"] == {
        "category": "linear", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit", "qty": "1",
        "orderLinkId": "mine", "price": "99",
    }  # fmt: skip


async def test_orders_and_executions_are_recorded_as_they_change(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    await buy(sandbox, account, "mine")
    changes = await sandbox.ledger("order", order_link_id="mine")
    assert changes[-1]["order_status"] == "Filled"
    (execution,) = await sandbox.ledger("execution", uid=account.uid)
    assert (execution["exec_price"], execution["exec_qty"]) == ("100", "1")


async def test_entries_of_all_kinds_share_one_numbering(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await buy(sandbox, account)
    await buy(sandbox, account)
    entries = await sandbox.ledger("*")
    assert "execution" in {entry["kind"] for entry in entries}
    assert [entry["seq"] for entry in entries] == list(range(1, len(entries) + 1))


async def test_entries_can_be_read_since_one(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "first")
    last = (await sandbox.ledger("*"))[-1]["seq"]
    await rest_order(sandbox, account, "second")
    assert [entry["kind"] for entry in await sandbox.ledger("*", since=last)] == ["order", "request"]


async def test_entries_of_all_kinds_are_numbered_together(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await rest_order(sandbox, account, "mine")
    await buy(sandbox, account)
    numbers = [entry["seq"] for entry in await sandbox.ledger("*")]
    assert numbers == list(range(1, len(numbers) + 1))


async def test_a_file_has_all_entries_and_no_secret(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    market = Market({"BTCUSDT": hourly_bars()})
    async with serve(market, options=Options(ledger=file)) as sandbox:
        account = await sandbox.open_account()
        await sandbox.step()
        async with sandbox.private_stream(account):
            await buy(sandbox, account)
        entries = await sandbox.ledger("*")
    text = file.read_text()
    assert [json.loads(line) for line in text.splitlines()] == entries
    for secret in (account.api_secret, account.api_key):
        assert secret not in text


def test_memory_keeps_the_last_entries_and_the_file_all(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl", kept=3)
    for number in range(5):
        ledger.add("request", {"number": number})
    ledger.close()
    assert [entry["number"] for entry in ledger.select({})] == [2, 3, 4]
    assert [entry["number"] for entry in ledger.select({}, limit=1)] == [4]
    assert len((tmp_path / "ledger.jsonl").read_text().splitlines()) == 5
