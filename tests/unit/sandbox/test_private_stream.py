"""The private stream: who may subscribe to what, what is pushed, and its faults."""

import time

import aiohttp
import pytest

from sandbox.bybit.client import ControlError, SandboxAccount, SandboxClient
from sandbox.bybit.messages import Json
from tests.unit.sandbox.market import buy, rest_order

Socket = aiohttp.ClientWebSocketResponse


async def pushed(socket: Socket, seconds: float = 0.2) -> list[Json]:
    """Return the messages that come until none has come for a while."""
    messages = []
    while True:
        try:
            messages.append(await socket.receive_json(timeout=seconds))
        except (TimeoutError, TypeError):  # TypeError: closed
            return messages


def seen(messages: list[Json], topic: str, field: str) -> list[object]:
    return [row[field] for each in messages if each["topic"] == topic for row in _data(each)]


def _data(message: Json) -> list[Json]:
    data = message["data"]
    assert isinstance(data, list)
    return data


async def test_an_order_is_pushed_with_all_that_it_changes(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account) as socket:
        await buy(sandbox, account, "mine")
        messages = await pushed(socket)
    assert seen(messages, "order", "orderStatus")[-1] == "Filled"
    assert seen(messages, "execution", "execPrice") == ["100"]
    assert seen(messages, "position", "size")[-1] == "1"
    assert len(seen(messages, "wallet", "totalEquity")) >= 1


async def test_another_account_gets_nothing(sandbox: SandboxClient, account: SandboxAccount) -> None:
    other = await sandbox.open_account()
    async with sandbox.private_stream(other) as socket:
        await buy(sandbox, account)
        assert await pushed(socket) == []


async def test_topics_of_a_category_are_named_so(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account, ["order.linear", "execution.fast.linear", "order.spot"]) as socket:
        await buy(sandbox, account)
        assert {message["topic"] for message in await pushed(socket)} == {"order.linear", "execution.fast.linear"}


@pytest.mark.parametrize("topics", [["no.such"], ["order", "order.linear"], []])
async def test_topics_that_do_not_exist_are_refused(
    sandbox: SandboxClient, account: SandboxAccount, topics: list[str]
) -> None:
    with pytest.raises(ControlError, match="False"):
        async with sandbox.private_stream(account, topics):
            pass


@pytest.mark.parametrize("case", ["secret", "expired", "arguments", "key"])
async def test_a_wrong_login_is_refused(sandbox: SandboxClient, account: SandboxAccount, case: str) -> None:
    expires = int(time.time() * 1000) + (-1 if case == "expired" else 10_000)
    key = "unknown" if case == "key" else account.api_key
    arguments: list[object] = [key, expires] if case == "arguments" else [key, expires, "0" * 64]
    async with aiohttp.ClientSession() as http, http.ws_connect(f"{sandbox.stream_url}/v5/private") as socket:
        await socket.send_json({"op": "auth", "args": arguments})
        answer = await socket.receive_json()
        assert (answer["success"], answer["op"]) == (False, "auth")
        await socket.send_json({"op": "subscribe", "args": ["order"]})
        answer = await socket.receive_json()
        assert (answer["success"], answer["ret_msg"]) == (False, "Request not authorized")


async def test_an_acknowledgement_takes_twenty_milliseconds(
    sandbox: SandboxClient, account: SandboxAccount
) -> None:
    async with sandbox.private_stream(account) as socket:
        began = time.monotonic()
        await socket.send_json({"op": "unsubscribe", "req_id": "2", "args": ["order"]})
        assert (await socket.receive_json())["req_id"] == "2"
        assert time.monotonic() - began >= 0.02


async def test_a_text_ping_is_answered(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account) as socket:
        await socket.send_json({"op": "ping", "req_id": "7"})
        pong = await socket.receive_json()
        assert (pong["op"], pong["req_id"]) == ("pong", "7")


async def test_a_revoked_key_loses_its_connections(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account) as socket:
        await sandbox.change_key(account, revoked=True)
        assert (await socket.receive(timeout=2)).type is aiohttp.WSMsgType.CLOSE


async def test_a_muted_stream_stays_open(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account, ["order"]) as socket:
        await sandbox.stream_fault("mute", stream="private", account=account.uid)
        await rest_order(sandbox, account, "unpushed")
        await sandbox.stream_fault("speak", stream="private", account=account.uid)
        await rest_order(sandbox, account, "pushed")
        assert seen(await pushed(socket), "order", "orderLinkId") == ["pushed"]


@pytest.mark.parametrize("fault", ["drop", "cut"])
async def test_a_stream_may_end(sandbox: SandboxClient, account: SandboxAccount, fault: str) -> None:
    other = await sandbox.open_account()
    async with sandbox.private_stream(account) as socket, sandbox.private_stream(other) as spared:
        await sandbox.stream_fault(fault, stream="private", account=account.uid)
        ended = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert (await socket.receive(timeout=2)).type in ended
        assert not spared.closed


async def test_a_half_open_stream_answers_no_ping(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account) as socket:
        await sandbox.stream_fault("half_open", stream="private")
        await socket.send_json({"op": "ping"})
        await rest_order(sandbox, account, "unpushed")
        assert await pushed(socket) == []
        assert not socket.closed


async def test_new_connections_may_be_refused(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.stream_fault("refuse")
    with pytest.raises(aiohttp.WSServerHandshakeError):
        async with sandbox.private_stream(account):
            pass
    await sandbox.stream_fault("accept")
    async with sandbox.private_stream(account):
        pass


async def test_executions_may_come_twice(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account, ["execution"]) as socket:
        await sandbox.stream_fault("duplicate", topic="execution", account=account.uid)
        await buy(sandbox, account)
        await buy(sandbox, account)
        first, again, second = seen(await pushed(socket), "execution", "execId")
        assert first == again != second


async def test_executions_may_overtake_each_other(sandbox: SandboxClient, account: SandboxAccount) -> None:
    async with sandbox.private_stream(account, ["execution"]) as socket:
        await sandbox.stream_fault("reorder", topic="execution")
        for link_id in ("first", "second", "third"):
            await buy(sandbox, account, link_id)
        links = seen(await pushed(socket), "execution", "orderLinkId")
        assert links == ["second", "first", "third"]


async def test_pushes_may_be_late(sandbox: SandboxClient, account: SandboxAccount) -> None:
    await sandbox.delay(account, stream_ms=300)
    async with sandbox.private_stream(account, ["order"]) as socket:
        began = time.monotonic()
        await rest_order(sandbox, account, "late")
        assert seen([await socket.receive_json(timeout=5)], "order", "orderLinkId") == ["late"]
        assert time.monotonic() - began >= 0.3
