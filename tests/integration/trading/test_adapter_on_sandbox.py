"""The adapter on the sandbox exchange over real sockets: the life of a position, and faults of the exchange."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal

import pytest

from sandbox.bybit.client import SandboxAccount, SandboxClient, serve
from sandbox.bybit.replay import Candle, Market
from services.trading.exchange.account_facts import Credentials
from services.trading.exchange.bybit_venue import BybitVenue
from services.trading.exchange.environments import Environments
from services.trading.exchange.exchange import Exchange, TradingAccount
from services.trading.exchange.private_stream import StreamGap, StreamItem
from services.trading.exchange.venue import (
    KeyRejected,
    NewOrder,
    NotSent,
    OrderOrigin,
    OrderStatus,
    OutcomeUnknown,
    Refused,
    VenueExecution,
    VenueOrder,
    VenuePosition,
    VenueWallet,
)
from shared.contracts.types import from_ms
from tests.integration.accounts import eventually
from tests.unit.trading.exchange.server import MemoryBudgets

HOUR = 3_600_000
FIRST = 470_000 * HOUR
BARS = [Candle(FIRST + number * HOUR, "100", "104", "98", "101", "35") for number in range(20)]
ENTRY = NewOrder("entry-1", "BTCUSDT", "BUY", Decimal(1), stop_loss=Decimal(90))
CREATE = "/v5/order/create"


@dataclass
class Scene:
    sandbox: SandboxClient
    account: SandboxAccount
    exchange: Exchange
    items: list[StreamItem] = field(default_factory=list)

    @property
    def trading_account(self) -> TradingAccount:
        credentials = Credentials(self.account.api_key, self.account.api_secret)
        return TradingAccount(7, self.account.uid, "SANDBOX", "GLOBAL", credentials)

    @property
    def venue(self) -> BybitVenue:
        return self.exchange.venue(self.trading_account)

    async def until_items(self, count: int) -> None:
        async def look() -> int:
            return len(self.items)

        await eventually(look, lambda seen: seen >= count, 15)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with serve(Market({"BTCUSDT": BARS}, two_phase=True)) as sandbox:
        await sandbox.step(2)
        environments = Environments(False, sandbox.url, f"{sandbox.stream_url}/v5/public/linear")
        exchange = Exchange(MemoryBudgets(), environments, "here", 400)
        yield Scene(sandbox, await sandbox.open_account(balance="10000"), exchange)
        await exchange.close()


async def test_a_position_lives_from_entry_to_exit(scene: Scene) -> None:
    venue = scene.venue
    await venue.set_leverage("BTCUSDT", Decimal(5))
    await venue.set_leverage("BTCUSDT", Decimal(5))
    order_id = await venue.create_order(ENTRY)  # the market stands at an open, where it fills at once
    entry = await venue.find_order("BTCUSDT", "entry-1")
    assert entry is not None
    assert (entry.order_id, entry.status, entry.filled) == (order_id, OrderStatus.FILLED, Decimal(1))
    await venue.set_stop("BTCUSDT", Decimal(97))
    await venue.set_stop("BTCUSDT", Decimal(97))
    await venue.create_order(
        NewOrder("target-1", "BTCUSDT", "SELL", Decimal("0.5"), Decimal(103), reduce_only=True)
    )
    position = await venue.get_position("BTCUSDT")
    assert (position.side, position.quantity, position.stop_loss, position.leverage) == (
        *("LONG", Decimal(1)),
        *(Decimal(97), Decimal(5)),
    )
    origins = {order.link_id or order.origin: order for order in await venue.list_open_orders()}
    assert set(origins) == {"target-1", OrderOrigin.STOP_LOSS}
    assert origins[OrderOrigin.STOP_LOSS].parent_link_id == "entry-1"
    await scene.sandbox.step(1)
    await venue.cancel_all("BTCUSDT")
    await venue.create_order(NewOrder("exit-1", "BTCUSDT", "SELL", Decimal("0.5"), reduce_only=True))
    await scene.sandbox.step(1)
    assert [each.side for each in await venue.list_positions(["BTCUSDT"])] == [None]
    executions = await venue.list_executions(from_ms(FIRST))
    assert [each.link_id for each in executions] == ["entry-1", "target-1", "exit-1"]
    assert all(each.fee_coin == "USDT" and each.fee > 0 for each in executions)
    wallet = await venue.get_wallet()
    assert wallet.balance == wallet.equity


async def test_the_stream_brings_typed_hints_after_a_gap(scene: Scene) -> None:
    stop = asyncio.Event()
    stream = scene.exchange.stream(scene.trading_account, scene.items.append)
    running = asyncio.create_task(stream.run(stop))
    await scene.until_items(1)
    assert scene.items == [StreamGap("connected")]
    await scene.venue.create_order(ENTRY)
    wanted = {VenueOrder, VenueExecution, VenuePosition, VenueWallet}

    async def kinds() -> Counter[type]:
        return Counter(type(item) for item in scene.items)

    seen = await eventually(kinds, lambda seen: wanted <= seen.keys(), 15)
    assert seen[StreamGap] == 1  # every message was readable
    await scene.sandbox.stream_fault("drop")
    await eventually(kinds, lambda seen: seen[StreamGap] == 2, 15)
    stop.set()
    await running


async def test_an_account_has_facts(scene: Scene) -> None:
    account = scene.trading_account
    facts = await scene.exchange.read_account_facts(account.credentials, account)
    assert (facts.uid, facts.is_unified, facts.margin_mode) == (scene.account.uid, True, "REGULAR_MARGIN")
    await scene.exchange.set_limit_price_action(account.credentials, account)
    facts = await scene.exchange.read_account_facts(account.credentials, account)
    assert facts.rejects_beyond_band
    await scene.sandbox.change_key(scene.account, revoked=True)
    with pytest.raises(KeyRejected):
        await scene.exchange.read_account_facts(account.credentials, account)


@pytest.mark.parametrize(
    ("fault", "rule", "meaning"),
    [
        ("cut", {"when": "after"}, OutcomeUnknown),
        ("cut", {}, OutcomeUnknown),
        ("answer", {"when": "after"}, OutcomeUnknown),
        ("answer", {"status": 403}, NotSent),
        ("truncate", {}, OutcomeUnknown),
        ("ret_code", {"code": 10016, "when": "after"}, OutcomeUnknown),
        ("ret_code", {"code": 110079}, OutcomeUnknown),
        ("ret_code", {"code": 110007}, Refused),
    ],
)
async def test_a_fault_of_the_exchange_means_one_thing_and_never_doubles_an_order(
    scene: Scene, fault: str, rule: dict[str, object], meaning: type[Exception]
) -> None:
    await scene.sandbox.fault(fault, route=CREATE, **rule)
    with pytest.raises(meaning):
        await scene.venue.create_order(ENTRY)
    (request,) = await scene.sandbox.ledger("request", path=CREATE)
    assert request
    if rule.get("when") == "after":
        found = await scene.venue.find_order("BTCUSDT", "entry-1")
        assert found is not None


async def test_a_skewed_clock_and_a_limit_that_is_past_refuse_nothing_for_good(scene: Scene) -> None:
    await scene.sandbox.control("POST", "clock", {"skew_ms": 3_600_000})
    await scene.sandbox.fault("ret_code", route=CREATE, code=10006, reset_in_ms=-5_000)
    await eventually(lambda: _send(scene.venue, ENTRY), bool)


async def _send(venue: BybitVenue, order: NewOrder) -> bool:
    """Send the order as an actor does, which asks its gate again if there was no room for it."""
    with suppress(NotSent):
        return bool(await venue.create_order(order))
    return False
