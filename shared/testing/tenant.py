"""A tenant who has created one of every object through the API."""

import asyncio
import re
from collections import defaultdict
from dataclasses import dataclass, field
from hashlib import sha256

from shared.testing.api_client import ApiClient, Json
from shared.testing.operations import UNKNOWN_ID

# The field that holds an object's id, by the path of its collection. Add each new collection here.
KINDS = {
    "/v1/strategies": "strategy_id",
    "/v1/strategies/published": "published_strategy_id",
    "/v1/strategies/templates": "template_id",
    "/v1/bot-configurations": "bot_configuration_id",
    "/v1/sessions": "session_id",
    "/v1/trades": "trade_id",
    "/v1/decisions": "decision_id",
    "/v1/fills": "fill_id",
    "/v1/backtests": "backtest_id",
    "/v1/exchange-accounts": "exchange_account_id",
    "/v1/kill-switches": "kill_switch_id",
    "/v1/alerts": "alert_id",
    "/v1/inbox": "event_id",
    "/v1/watchlist": "watch_id",
    "/v1/market-analysis": "analysis_id",
    "/v1/me/sessions": "login_id",
}
# Kinds that are open to every tenant. They show no more of their owner than the chosen display name.
OPEN_KINDS = frozenset({"published_strategy_id", "template_id"})
# A path of each service, and a text that its answer has; none for the plan.
KNOWN_BY = {
    "/v1/subscription": "",
    "/v1/sessions/limits": "",
    "/v1/me": "",
    "/v1/watchlist": "items",
    "/v1/alerts": "items",
}
POLL_INTERVAL_S = 0.05


@dataclass(kw_only=True)
class Tenant(ApiClient):
    """`canary` is in every text that the tenant writes; `ids` has the ids of the tenant's objects by field."""

    canary: str = ""
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def all_ids(self) -> list[str]:
        return [one for several in self.ids.values() for one in several]

    @property
    def private_ids(self) -> list[str]:
        return [one for kind, several in self.ids.items() if kind not in OPEN_KINDS for one in several]

    def first_id(self, kind: str) -> str:
        return (self.ids.get(kind) or [UNKNOWN_ID])[0]

    async def make(self, path: str, body: Json) -> str:
        """Create an object in a collection, keep its id and return it."""
        made = str((await self.must("POST", path, body))[KINDS[path]])
        self.ids[KINDS[path]].append(made)
        return made

    async def fill(self, strategy: Json, published: Json) -> None:
        """Create one of every object but a backtest, which needs candles, and publish the other strategy."""
        for path in ("/v1/strategies", "/v1/bot-configurations", "/v1/watchlist", "/v1/alerts"):
            await self.make(path, self.bodies(strategy)[f"POST {path}"])
        configured = {"bot_configuration_id": self.first_id("bot_configuration_id")}
        await self.make("/v1/sessions", {**self.bodies(strategy)["POST /v1/sessions"], **configured})
        switch = await self.make("/v1/kill-switches", self.bodies(strategy)["POST /v1/kill-switches"])
        await self.must("DELETE", f"/v1/kill-switches/{switch}")
        path = f"/v1/strategies/{await self.make('/v1/strategies', published)}/publish"
        shown = await self.must("POST", path, self.bodies(published)["POST /v1/strategies/{id}/publish"])
        self.ids["published_strategy_id"] = [shown["published_strategy_id"]]
        templates = await self.must("GET", "/v1/strategies/templates")
        self.ids["template_id"] = [templates["items"][0]["template_id"]]

    def bodies(self, strategy: Json, symbol: str = "BTCUSDT", interval: str = "15") -> dict[str, Json]:
        """Return a body that each operation accepts from this tenant; the canary is in every text."""
        own = bodies_of(self.canary, strategy, self.first_id("strategy_id"), symbol, interval)
        passwords: Json = {"old_password": "not the old one", "new_password": self.password}
        return {**own, "POST /v1/me/password": passwords}


def bodies_of(
    text: str, strategy: Json, strategy_id: str, symbol: str = "BTCUSDT", interval: str = "15"
) -> dict[str, Json]:
    """Return a body for each operation that creates or changes an object; `text` is in every text."""
    digest = sha256(text.encode()).hexdigest()
    document = {**strategy, "strategy_name": text, "strategy_description": text}
    configuration = {
        "config_name": text,
        "config_data": {text: {"note": [text]}},
        "strategy_type": text,
        "max_position_size": "1000000",
    }
    market = {"strategy_id": strategy_id, "symbol": symbol}
    series = {"symbol": symbol, "interval": interval}
    key = {"api_key": f"key{digest[:18]}", "api_secret": f"secret{digest}"}
    price = {"alert_type": "PRICE", "condition_data": {"op": "above", "value": "10"}}
    return {
        "POST /v1/strategies": document,
        "PUT /v1/strategies/{id}": document,
        "POST /v1/strategies/{id}/versions": document,
        "POST /v1/strategies/{id}/publish": {"display_name": "somebody"},
        "POST /v1/strategies/published/{id}/copy": {"strategy_name": f"{text} taken over"},
        "POST /v1/strategies/templates/{id}/copy": {"strategy_name": f"{text} from a template"},
        "POST /v1/bot-configurations": configuration,
        "PUT /v1/bot-configurations/{id}": configuration,
        "POST /v1/sessions": {**market, "mode": "PAPER", "initial_balance": "10000"},
        "PATCH /v1/sessions/{id}": {"notes": text},
        "PATCH /v1/trades/{id}": {"notes": text},
        "POST /v1/backtests": {**market, "from": "2026-01-01T00:00:00Z", "to": "2026-02-01T00:00:00Z"},
        "POST /v1/exchange-accounts": {**key, "account_name": text, "environment": "SANDBOX"},
        "PATCH /v1/exchange-accounts/{id}": {"account_name": text},
        "PUT /v1/exchange-accounts/{id}/key": key,
        "POST /v1/exchange-accounts/risk-notice": {"version": 1},
        "PUT /v1/exchange-accounts/{id}/risk": {"max_positions": 3},
        "POST /v1/kill-switches": {"reason": text},
        "POST /v1/watchlist": series,
        "PATCH /v1/market-analysis/{id}": {"notes": text},
        "POST /v1/alerts": {**series, **price, "alert_name": text},
        "PATCH /v1/alerts/{id}": {"notify_dashboard": True},
        "PUT /v1/inbox/preferences": {"kinds": {}},
    }


async def until_known(client: ApiClient, plan: str, within_s: float) -> None:
    """Wait until every service knows the client's user, and those that show the plan know it."""
    async with asyncio.timeout(within_s):
        for path, text in KNOWN_BY.items():
            while not (answer := await client.call("GET", path)).ok or (text or plan) not in answer.raw:
                await asyncio.sleep(POLL_INTERVAL_S)


def kind_of(path: str) -> str | None:
    """Return the field of the id in the path, or None if the collection is not known."""
    return KINDS.get(path.partition("/{")[0])


def with_id(path: str, one: str) -> str:
    """Replace the first placeholder by the id, and further ones by 1."""
    head, brace, tail = path.partition("{")
    return head + one + re.sub(r"{\w+}", "1", tail.partition("}")[2]) if brace else path
