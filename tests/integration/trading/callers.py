"""HTTP clients of trading for tests: callers with a token."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shared.chassis.service import RunningService
from shared.testing.api_client import Answer, ApiClient
from shared.testing.tokens import TokenIssuer
from tests.unit.trading.scenes import CROSS

if TYPE_CHECKING:
    from tests.integration.trading.conftest import Trading


@dataclass
class Caller(ApiClient):
    async def make_strategy(self, **changes: object) -> str:
        return str((await self.must("POST", "/v1/strategies", {**CROSS, **changes}))["strategy_id"])

    async def start(self, strategy_id: str, **changes: object) -> Answer:
        request = {"strategy_id": strategy_id, "symbol": "BTCUSDT", "mode": "PAPER", "initial_balance": "10000"}
        return await self.call("POST", "/v1/sessions", {**request, **changes})


@dataclass
class Api:
    trading: "Trading"
    client: ApiClient
    tokens: TokenIssuer
    running: RunningService

    async def caller(self, user_id: int = 1, strategies: int | None = None) -> Caller:
        principal = await self.trading.subscribe(user_id, "PRO", strategies)
        return Caller(self.client.url, self.client.http, self.tokens.make_token(principal.public_id))


def reasons(answer: Answer) -> dict[str, str]:
    return {fault["path"]: fault["reason"] for fault in answer.body["errors"]}
