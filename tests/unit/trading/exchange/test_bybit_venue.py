"""The account on Bybit over real sockets: requests exact, answers strict, outcomes never guessed."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from decimal import Decimal

import pytest
from aiohttp import web

from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.exchange import Exchange
from services.trading.exchange.signing_clock import local_ms
from services.trading.exchange.venue import (
    KeyRejected,
    LinkIdUsed,
    NewOrder,
    NotSent,
    OrderStatus,
    OutcomeUnknown,
    Refused,
    SlippageTolerance,
    VenueUnavailable,
)
from shared.contracts.types import from_ms
from tests.unit.trading.exchange.rows import execution_row, listed, order_row, position_row, wallet_row
from tests.unit.trading.exchange.server import NOW_MS, Answer, Scripted, account, coded, exchange_at, raw, scripted

CREATE, CANCEL, STOP = "/v5/order/create", "/v5/order/cancel", "/v5/position/trading-stop"
REALTIME, HISTORY, EXECUTIONS = "/v5/order/realtime", "/v5/order/history", "/v5/execution/list"
ENTRY = NewOrder("tf-1", "BTCUSDT", "BUY", Decimal("0.010"), stop_loss=Decimal("49000.50"))
Scene = tuple[Scripted, Exchange, BybitVenue]


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with scripted() as each:
        yield each


async def test_an_entry_is_a_market_order_with_its_stop(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[CREATE] = {"orderId": "o-1", "orderLinkId": "tf-1"}
    assert await venue.create_order(ENTRY) == "o-1"
    assert script.sent(CREATE) == [
        {
            "category": "linear",
            "symbol": "BTCUSDT",
            "side": "Buy",
            "positionIdx": 0,
            "orderType": "Market",
            "qty": "0.01",
            "orderLinkId": "tf-1",
            "reduceOnly": False,
            "stopLoss": "49000.5",
            "slTriggerBy": "LastPrice",
            "tpslMode": "Full",
        }
    ]


async def test_a_target_is_a_reduce_only_limit_order(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[CREATE] = {"orderId": "o-2"}
    target = NewOrder("t", "BTCUSDT", "SELL", Decimal("1E+2"), Decimal("0.00000001"), reduce_only=True)
    await venue.create_order(target)
    (body,) = script.sent(CREATE)
    assert (body["qty"], body["price"]) == ("100", "0.00000001")
    assert (body["reduceOnly"], body["timeInForce"]) == (True, "GTC")


async def test_a_position_of_any_size_is_closed_without_a_quantity(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[CREATE] = {"orderId": "o-2"}
    await venue.create_order(NewOrder("t", "BTCUSDT", "SELL", Decimal("0.1"), reduce_only=True, closes_all=True))
    (body,) = script.sent(CREATE)
    assert (body["qty"], body["reduceOnly"], body["closeOnTrigger"]) == ("0", True, True)


async def test_a_market_order_can_carry_a_slippage_tolerance(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[CREATE] = {"orderId": "o-2"}
    await venue.create_order(
        NewOrder("t", "BTCUSDT", "SELL", Decimal(1), slippage=SlippageTolerance("PERCENT", Decimal("0.50")))
    )
    (body,) = script.sent(CREATE)
    assert (body["slippageToleranceType"], body["slippageTolerance"]) == ("Percent", "0.5")


async def test_no_stop_is_a_stop_of_zero(scene: Scene) -> None:
    script, _, venue = scene
    await venue.set_stop("BTCUSDT", None)
    (body,) = script.sent(STOP)
    assert (body["stopLoss"], body["tpslMode"], body["positionIdx"]) == ("0", "Full", 0)


async def test_what_is_unchanged_is_done(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[STOP] = lambda *_: coded(34040, "not modified")
    script.answers["/v5/position/set-leverage"] = lambda *_: coded(110043, "leverage not modified")
    await venue.set_stop("BTCUSDT", Decimal(1))
    await venue.set_leverage("BTCUSDT", Decimal("2.50"))
    assert script.sent("/v5/position/set-leverage")[0]["buyLeverage"] == "2.5"
    script.answers[CANCEL] = lambda *_: coded(34040)
    with pytest.raises(Refused):
        await venue.cancel_order("BTCUSDT", "tf-1")


async def test_cancelling_all_is_done_when_the_exchange_confirms_it(scene: Scene) -> None:
    script, _, venue = scene
    script.answers["/v5/order/cancel-all"] = {"list": [], "success": "1"}
    await venue.cancel_all("BTCUSDT")
    script.answers["/v5/order/cancel-all"] = {"list": [], "success": "0"}
    with pytest.raises(OutcomeUnknown):
        await venue.cancel_all("BTCUSDT")


@pytest.mark.parametrize(
    ("answer", "meaning"),
    [
        (coded(110007, "ab not enough for new order"), Refused),
        (coded(10005), KeyRejected),
        (coded(10016), OutcomeUnknown),
        (coded(110072, "OrderLinkedID is duplicate"), LinkIdUsed),
        (coded(110079), OutcomeUnknown),
        (coded(424242), OutcomeUnknown),
        (raw(b""), OutcomeUnknown),
        (raw(b"{}"), OutcomeUnknown),
        (raw(b"null"), OutcomeUnknown),
        (raw(b"[]"), OutcomeUnknown),
        (raw(b'{"retCode":0,"resu'), OutcomeUnknown),
        (raw(b'{"retCode":"0","retMsg":"OK","result":{"orderId":"x"},"time":1}'), OutcomeUnknown),
        (raw(b'{"retCode":0,"retMsg":"OK","result":{},"time":1}'), OutcomeUnknown),
        (raw(b'{"retCode":10001}'), OutcomeUnknown),
        (raw(b"[" * 100_000), OutcomeUnknown),
        (raw(b"<html>maintenance</html>"), OutcomeUnknown),
        (raw(b"<html>bad gateway</html>", 502), OutcomeUnknown),
        (raw(b"", 504), OutcomeUnknown),
        (raw(b"", 429), NotSent),
        (raw(b"access too frequent", 403), NotSent),
        (raw(b"", 307, Location="http://127.0.0.1:9/elsewhere"), OutcomeUnknown),
    ],
    ids=lambda each: each.__name__ if isinstance(each, type) else f"{each.status} {each.body[:40]!r}",
)
async def test_every_answer_to_an_order_means_one_thing(
    scene: Scene, answer: web.Response, meaning: type[Exception]
) -> None:
    script, _, venue = scene
    body, status, headers = answer.body, answer.status, dict(answer.headers)
    script.answers[CREATE] = lambda *_: web.Response(body=body, status=status, headers=headers)
    with pytest.raises(meaning) as raised:
        await venue.create_order(ENTRY)
    assert type(raised.value) is meaning
    assert len(script.sent(CREATE)) == 1  # never repeated


async def test_an_order_whose_connection_is_reset_is_unknown(scene: Scene) -> None:
    script, _, venue = scene

    def reset(request: web.Request, _: Mapping[str, str]) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    script.answers[CREATE] = reset
    with pytest.raises(OutcomeUnknown):
        await venue.create_order(ENTRY)


async def test_an_order_without_an_answer_is_unknown(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    script, exchange, _ = scene
    released = asyncio.Event()

    async def hang(*_: object) -> web.Response:
        await released.wait()
        return coded(0)

    script.answers[CREATE] = hang
    monkeypatch.setattr("services.trading.exchange.account_api.READ_S", 0.2)
    with pytest.raises(OutcomeUnknown, match="ReadTimeout"):
        await exchange.venue(account()).create_order(ENTRY)
    released.set()


async def test_an_order_that_cannot_be_connected_is_not_sent() -> None:
    async with exchange_at("http://127.0.0.1:9") as exchange:
        with pytest.raises(NotSent):
            await exchange.venue(account()).create_order(ENTRY)
        with pytest.raises(VenueUnavailable):
            await exchange.venue(account()).get_wallet()


async def test_a_refused_timestamp_corrects_the_clock_of_all_accounts_of_the_endpoint(scene: Scene) -> None:
    script, exchange, venue = scene
    ahead_ms = 3_600_000

    def check(request: web.Request, _: Mapping[str, str]) -> Answer:
        sent = int(request.headers["X-BAPI-TIMESTAMP"])
        server = local_ms() + ahead_ms
        if abs(server - sent) < 4_000:
            return {"orderId": "o"}
        return coded(10002, f"req_timestamp[{sent}],server_timestamp[{server}],recv_window[5000]")

    script.answers[CREATE] = check
    assert await venue.create_order(ENTRY) == "o"
    assert len(script.sent(CREATE)) == 2
    assert await exchange.venue(account(8, "1002")).create_order(ENTRY) == "o"
    assert len(script.sent(CREATE)) == 3


async def test_a_rate_limited_order_is_sent_again_when_the_limit_is_reset(scene: Scene) -> None:
    script, _, venue = scene
    answers = iter([coded(10006, **{"X-Bapi-Limit-Reset-Timestamp": "1"}), {"orderId": "o-1"}])
    script.answers[CREATE] = lambda *_: next(answers)
    assert await venue.create_order(ENTRY) == "o-1"


async def test_an_address_that_is_shut_out_sends_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    script, _, venue = scene
    script.answers[CREATE] = lambda *_: raw(b"access too frequent", 403)
    with pytest.raises(NotSent) as raised:
        await venue.create_order(ENTRY)
    assert raised.value.wait_s == 600
    monkeypatch.setattr("services.trading.exchange.account_calls.LONGEST_WAIT_S", dict.fromkeys(range(4), 0.3))
    await asyncio.sleep(0.3)  # the credit granted before
    with pytest.raises(VenueUnavailable):
        await venue.get_wallet()
    assert len(script.requests) == 1


async def test_an_order_is_found_open_closed_or_by_its_executions(scene: Scene) -> None:
    script, _, venue = scene
    nothing = listed()
    script.answers |= {REALTIME: listed(order_row()), HISTORY: nothing, EXECUTIONS: nothing}
    found = await venue.find_order("BTCUSDT", "tf-1")
    assert found is not None
    assert (found.order_id, found.status, found.average_price) == ("o-1", OrderStatus.FILLED, Decimal("50000.10"))
    script.answers |= {REALTIME: nothing, HISTORY: listed(order_row(orderStatus="Cancelled", cumExecQty="0.004"))}
    found = await venue.find_order("BTCUSDT", "tf-1")
    assert found is not None
    assert (found.status, found.filled) == (OrderStatus.CANCELLED, Decimal("0.004"))
    executions = [execution_row(2, NOW_MS + 1, execPrice="50003.10", execQty="0.006"), execution_row(1)]
    script.answers |= {HISTORY: nothing, EXECUTIONS: listed(*executions)}
    found = await venue.find_order("BTCUSDT", "tf-1")
    assert found is not None
    assert (found.status, found.filled, found.average_price) == (
        OrderStatus.FILLED,
        Decimal("0.010"),
        Decimal("50001.9"),
    )
    script.answers[EXECUTIONS] = nothing
    assert await venue.find_order("BTCUSDT", "tf-1") is None


async def test_another_order_in_the_answer_is_not_taken_for_ours(scene: Scene) -> None:
    script, _, venue = scene
    script.answers |= dict.fromkeys((REALTIME, HISTORY), listed(order_row(orderLinkId="other")))
    script.answers[EXECUTIONS] = listed(execution_row(1, orderLinkId="other"))
    assert await venue.find_order("BTCUSDT", "tf-1") is None


async def test_open_orders_come_from_all_pages(scene: Scene) -> None:
    script, _, venue = scene
    pages = {
        None: listed(order_row(orderId="a", orderStatus="New"), cursor="page%3D2"),
        "page=2": listed(
            order_row(orderId="b", orderStatus="Untriggered"), order_row(orderId="a", orderStatus="New")
        ),
    }
    script.answers[REALTIME] = lambda _, query: pages[query.get("cursor")]
    assert [order.order_id for order in await venue.list_open_orders()] == ["a", "b"]
    assert script.sent(REALTIME)[0]["settleCoin"] == "USDT"


async def test_executions_come_from_all_windows_and_pages_oldest_first(scene: Scene) -> None:
    script, _, venue = scene
    day_ms = 86_400_000
    executions = [execution_row(number, NOW_MS - number * day_ms // 2) for number in range(40)]

    def page(_: web.Request, query: Mapping[str, str]) -> object:
        start, end, first = int(query["startTime"]), int(query["endTime"]), int(query.get("cursor", "0"))
        assert end - start <= 7 * day_ms
        within = [row for row in executions if start <= int(str(row["execTime"])) <= end]
        return listed(*within[first : first + 5], cursor=str(first + 5) if first + 5 < len(within) else "")

    script.answers[EXECUTIONS] = page
    found = await venue.list_executions(from_ms(NOW_MS) - timedelta(days=19))
    assert [execution.execution_id for execution in found] == [f"e-{number}" for number in range(38, -1, -1)]


async def test_executions_of_one_time_keep_the_exchanges_order(scene: Scene) -> None:
    script, _, venue = scene
    script.answers[EXECUTIONS] = listed(execution_row(3), execution_row(2), execution_row(1))
    found = await venue.list_executions(from_ms(NOW_MS) - timedelta(days=1))
    assert [execution.execution_id for execution in found] == ["e-1", "e-2", "e-3"]


async def test_positions_without_size_are_flat(scene: Scene) -> None:
    script, _, venue = scene
    flat = position_row(symbol="ETHUSDT", side="", size="0", avgPrice="0", stopLoss="")
    script.answers["/v5/position/list"] = listed(flat)
    position = await venue.get_position("ETHUSDT")
    assert (position.side, position.quantity) == (None, Decimal(0))
    assert (position.entry_price, position.stop_loss) == (None, None)


async def test_several_symbols_are_listed_together_and_those_that_are_flat_one_by_one(scene: Scene) -> None:
    script, _, venue = scene
    flat = position_row(symbol="ETHUSDT", side="", size="0", avgPrice="0", stopLoss="")
    other = position_row(symbol="XRPUSDT", positionIdx=1)  # in hedge mode, which is none of our business

    def answer(_: web.Request, query: Mapping[str, str]) -> object:
        return listed(flat) if query.get("symbol") == "ETHUSDT" else listed(other, position_row())

    script.answers["/v5/position/list"] = answer
    positions = await venue.list_positions({"BTCUSDT", "ETHUSDT"})
    assert [(each.symbol, each.side) for each in positions] == [("BTCUSDT", "LONG"), ("ETHUSDT", None)]
    script.answers[EXECUTIONS] = listed(execution_row(2, symbol="XRPUSDT", execQty="many"), execution_row(1))
    executions = await venue.list_executions(from_ms(NOW_MS) - timedelta(days=1), {"BTCUSDT", "ETHUSDT"})
    assert [each.execution_id for each in executions] == ["e-1"]


async def test_a_position_in_hedge_mode_is_no_answer(scene: Scene) -> None:
    script, _, venue = scene
    script.answers["/v5/position/list"] = listed(position_row(positionIdx=1))
    with pytest.raises(VenueUnavailable, match="hedge mode"):
        await venue.get_position("BTCUSDT")


async def test_the_wallet_is_that_of_the_settle_coin(scene: Scene) -> None:
    script, _, venue = scene
    script.answers["/v5/account/wallet-balance"] = listed(wallet_row())
    wallet = await venue.get_wallet()
    assert (wallet.balance, wallet.equity, wallet.available) == (
        Decimal("1000.5"),
        Decimal("1010.5"),
        Decimal("900.25"),
    )
    script.answers["/v5/account/wallet-balance"] = listed(wallet_row(totalAvailableBalance=""))
    assert (await venue.get_wallet()).available == Decimal("997.5")


async def test_the_exchanges_time_is_asked_without_a_signature(scene: Scene) -> None:
    script, _, venue = scene
    script.answers["/v5/market/time"] = {"timeSecond": "1", "timeNano": f"{NOW_MS}123456"}
    assert await venue.server_time() == from_ms(NOW_MS)
    assert script.timestamps == []
