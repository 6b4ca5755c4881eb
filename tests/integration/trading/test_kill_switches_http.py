"""Kill switches and risk limits over HTTP, live sessions too, and the operator's command."""

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID

import pytest
from click.testing import CliRunner

from cli.kill_switch import kill_switch
from services.trading.app import build
from services.trading.exchange.symbol_state import SymbolState
from services.trading.exchange.venue import KeyRejected
from shared.chassis.service import RunningService
from shared.testing.api_client import open_client
from shared.testing.tokens import serve_tokens
from tests.integration.trading.callers import Api, Caller, reasons
from tests.integration.trading.conftest import Trading
from tests.integration.trading.live import NOTHING_THERE, add_account, foreign_order, with_position

PATH = "/v1/kill-switches"


class Symbols:
    """An exchange that answers with `state`, or rejects the key."""

    state: SymbolState | None = NOTHING_THERE

    async def read_symbol(self, user_id: int, account_id: UUID, symbol: str) -> SymbolState:
        if self.state is None:
            raise KeyRejected(10003, "API key is invalid.")
        return self.state


@pytest.fixture
def symbols() -> Symbols:
    return Symbols()


@pytest.fixture
async def live_api(trading: Trading, symbols: Symbols) -> AsyncIterator[Api]:
    async with serve_tokens() as tokens:
        settings = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url})
        async with RunningService(partial(build, symbol_reader=symbols), settings, {"http"}) as running:
            async with open_client(running.url) as client:
                yield Api(trading, client, tokens, running)


async def start_live(api: Api, caller: Caller, name: str = "live", uid: str = "u1") -> str:
    account = await add_account(api.trading, 1, uid)
    strategy = await caller.make_strategy(strategy_name=name)
    answer = await caller.start(strategy, mode="LIVE", exchange_account_id=str(account))
    assert answer.status == 201, answer.raw
    assert answer.body["mode"] == "LIVE"
    assert answer.body["exchange_account_id"] == str(account)
    return str(answer.body["session_id"])


async def test_a_live_session_over_http(live_api: Api, symbols: Symbols) -> None:
    ann = await live_api.caller()
    path = f"/v1/sessions/{await start_live(live_api, ann)}"
    assert (await ann.must("GET", path + "/orders"))["items"] == []
    stopping = await ann.must("POST", path + "/stop", {"reason": "manual"})
    assert (stopping["status"], stopping["reason"], stopping["entries"]) == ("STOPPING", "manual", "STOPPING")
    assert [each["session_id"] for each in (await ann.must("GET", "/v1/sessions?status=STOPPING"))["items"]]


async def test_the_exchange_is_asked_before_a_live_start(live_api: Api, symbols: Symbols) -> None:
    ann = await live_api.caller()
    account = str(await add_account(live_api.trading, 1, "u1"))
    strategy = await ann.make_strategy()
    symbols.state = with_position("0.5", [foreign_order()])
    refused = await ann.start(strategy, mode="LIVE", exchange_account_id=account)
    assert (refused.status, refused.body["type"]) == (409, "/problems/foreign-position")
    assert refused.body["found"] == ["position LONG 0.5", "order f-1 (BUY 1)"]
    symbols.state = None
    refused = await ann.start(strategy, mode="LIVE", exchange_account_id=account)
    assert (
        reasons(refused)["$.exchange_account_id"] == "the exchange rejects the account's key: API key is invalid."
    )


async def test_a_live_session_needs_an_account_and_a_paper_session_has_none(live_api: Api) -> None:
    ann = await live_api.caller()
    strategy = await ann.make_strategy()
    assert (await ann.start(strategy, mode="LIVE")).body["type"] == "/problems/live-trading-off"
    account = str(await add_account(live_api.trading, 1, "u1"))
    refused = await ann.start(strategy, mode="PAPER", exchange_account_id=account)
    assert refused.status == 422


async def test_a_kill_switch_is_switched_on_listed_and_lifted(live_api: Api) -> None:
    ann = await live_api.caller()
    session_id = await start_live(live_api, ann)
    switch = await ann.must("POST", PATH, {"reason": "a test"})
    assert (switch["session_id"], switch["is_on"], switch["switched_by"]) == (None, True, "TENANT")
    again = await ann.must("POST", PATH, {"flatten": True})
    assert (again["kill_switch_id"], again["flatten"], again["reason"]) == (
        switch["kill_switch_id"],
        True,
        "a test",
    )
    assert (await ann.must("GET", f"/v1/sessions/{session_id}"))["entries"] == "KILL_SWITCH"
    refused = await ann.start(await ann.make_strategy())
    assert (refused.status, refused.body["type"], refused.body["scope"]) == (
        409,
        "/problems/kill-switch-on",
        "tenant",
    )
    one = f"{PATH}/{switch['kill_switch_id']}"
    assert len((await ann.must("GET", PATH + "?is_on=true"))["items"]) == 1
    bob = await live_api.caller(2)
    assert (await bob.call("DELETE", one)).status == 404
    lifted = await ann.must("DELETE", one)
    assert lifted["is_on"] is False
    assert await ann.must("DELETE", one) == lifted
    assert await ann.must("GET", one) == lifted
    assert (await ann.must("GET", f"/v1/sessions/{session_id}"))["entries"] == "ALLOWED"


async def test_a_switch_of_an_unknown_session_is_refused(live_api: Api) -> None:
    ann = await live_api.caller()
    answer = await ann.call("POST", PATH, {"session_id": str(UUID(int=7))})
    assert reasons(answer) == {"$.session_id": "there is no such session"}


async def test_risk_limits_are_set_and_resumed(live_api: Api) -> None:
    ann = await live_api.caller()
    account = await add_account(live_api.trading, 1, "u1")
    path = f"/v1/exchange-accounts/{account}/risk"
    assert set((await ann.must("GET", path)).values()) == {None}
    shown = await ann.must("PUT", path, {"max_daily_loss": "250", "max_positions": 2})
    assert (shown["max_daily_loss"], shown["max_positions"], shown["max_open_notional"]) == ("250", 2, None)
    assert await ann.must("GET", path) == shown
    assert (await ann.call("PUT", path, {"max_daily_loss": "0"})).status == 422
    await live_api.trading.fetch(
        "UPDATE account_risk SET breached_limit = 'max_positions', breached_allowed = 2, breached_value = 3, "
        "breached_at = now()"
    )
    breach = (await ann.must("GET", path + "/state"))["breach"]
    assert (breach["limit_name"], breach["allowed"], breach["asked"]) == ("max_positions", "2", "3")
    assert (await ann.must("POST", path + "/resume"))["breach"] is None
    assert (await (await live_api.caller(2)).call("GET", path)).status == 404


async def operate(trading: Trading, *words: str) -> str:
    def run() -> str:
        env = {"POSTGRES_OWNER_DSN": trading.owner_dsn}
        result = CliRunner().invoke(kill_switch, words, env=env)
        assert result.exit_code == 0, result.output
        return result.output

    return await asyncio.to_thread(run)


async def test_an_operator_stops_a_symbol_and_a_tenant(live_api: Api) -> None:
    trading, ann = live_api.trading, await live_api.caller()
    session_id = await start_live(live_api, ann)
    assert await operate(trading, "list") == "no kill switch is on\n"
    on = await operate(trading, "on", "--symbol", "btcusdt", "--reason", "delisted")
    assert on == "the kill switch of BTCUSDT is on; 1 running sessions changed\n"
    assert (await ann.must("GET", f"/v1/sessions/{session_id}"))["entries"] == "KILL_SWITCH"
    public_id = str(UUID(int=1))
    await operate(trading, "on", "--tenant", public_id, "--flatten")
    listed = (await operate(trading, "list")).splitlines()
    assert [line.partition(", since")[0] for line in listed] == ["BTCUSDT", f"user {public_id} by the operator"]
    (switch,) = (await ann.must("GET", PATH))["items"]
    assert switch["switched_by"] == "OPERATOR"
    assert (await ann.call("DELETE", f"{PATH}/{switch['kill_switch_id']}")).status == 404
    await operate(trading, "off", "--symbol", "BTCUSDT")
    off = await operate(trading, "off", "--tenant", public_id)
    assert off == f"the kill switch of user {public_id} is off; 1 running sessions changed\n"
    assert (await ann.must("GET", f"/v1/sessions/{session_id}"))["entries"] == "ALLOWED"
