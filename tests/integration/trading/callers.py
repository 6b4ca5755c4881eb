"""HTTP clients of trading for tests: callers with a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.chassis.service import RunningService
from shared.testing.tokens import TokenIssuer
from tests.integration.accounts import Answer, Client, Json
from tests.unit.trading.scenes import CROSS

if TYPE_CHECKING:
    from tests.integration.trading.conftest import Trading

Item = dict[str, Any]  # Any: an item of any list


@dataclass
class Caller:
    client: Client
    token: str

    async def call(self, method: str, path: str, body: Json | None = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.call(method, path, body, self.token, sent)

    async def make_strategy(self, **changes: object) -> str:
        answer = await self.call("POST", "/v1/strategies", {**CROSS, **changes})
        assert answer.status == 201, answer.body
        return answer.text("strategy_id")

    async def start(self, strategy_id: str, **changes: object) -> Answer:
        request = {"strategy_id": strategy_id, "symbol": "BTCUSDT", "mode": "PAPER", "initial_balance": "10000"}
        return await self.call("POST", "/v1/sessions", {**request, **changes})


@dataclass
class Api:
    trading: "Trading"
    client: Client
    tokens: TokenIssuer
    running: RunningService

    async def caller(self, user_id: int = 1, strategies: int | None = None) -> Caller:
        principal = await self.trading.subscribe(user_id, "PRO", strategies)
        return Caller(self.client, self.tokens.make_token(principal.public_id))


def reasons(answer: Answer) -> dict[str, str]:
    faults = answer.body["errors"]
    assert isinstance(faults, list)
    return {fault["path"]: fault["reason"] for fault in faults}


async def every(caller: Caller, path: str, limit: int = 7) -> list[Item]:
    """Return all items of a list, read page by page."""
    items: list[Item] = []
    cursor, joint = "", "&" if "?" in path else "?"
    while True:
        page = (await caller.call("GET", f"{path}{joint}limit={limit}{cursor}")).body
        found = page["items"]
        assert isinstance(found, list)
        items += found
        if page["next_cursor"] is None:
            return items
        cursor = f"&cursor={page['next_cursor']}"
