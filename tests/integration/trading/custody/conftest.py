"""Exchange accounts over HTTP, at an exchange in memory."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any  # settings

import pytest

from services.trading.app import build
from services.trading.custody.custody import Custody
from services.trading.custody.key_ring import FileKeyRing
from services.trading.custody.probe import AccountProbe
from shared.chassis.service import RunningService
from shared.testing.api_client import Answer, ApiClient, Json, open_client
from shared.testing.tokens import TokenIssuer, serve_tokens
from tests.integration.trading.conftest import Trading
from tests.unit.trading.custody.accounts import Accounts

PATH = "/v1/exchange-accounts"
KEY, SECRET = "theApiKeyOfAnn0001", "theApiSecretOfAnn0001xyzxyzxyzxyz"


def body(name: str = "bots", **changes: str) -> Json:
    return {"account_name": name, "environment": "SANDBOX", "api_key": KEY, "api_secret": SECRET, **changes}


@dataclass
class Desk:
    """Trading over HTTP with the exchange's `accounts`; nothing runs by the clock."""

    trading: Trading
    accounts: Accounts
    client: ApiClient
    tokens: TokenIssuer

    async def caller(self, user_id: int = 1) -> ApiClient:
        principal = await self.trading.subscribe(user_id)
        return ApiClient(self.client.url, self.client.http, self.tokens.make_token(principal.public_id))

    async def added(self, user_id: int = 1, **changes: str) -> tuple[ApiClient, str]:
        """Connect an account, and return its owner and its path."""
        caller = await self.caller(user_id)
        made = await caller.must("POST", PATH, body(**changes))
        return caller, f"{PATH}/{made['exchange_account_id']}"

    def custody(self, *, allows_live: bool = False) -> Custody:
        ring = FileKeyRing(self.trading.settings.exchange_keys_file)
        return Custody(ring, self.accounts, allows_live=allows_live)

    def probe(self, *, allows_live: bool = False) -> AccountProbe:
        return AccountProbe(self.trading.database, self.custody(allows_live=allows_live), 3600)

    async def probe_all(self) -> None:
        """Let every account be due, and check them."""
        await self.trading.fetch("UPDATE exchange_account_checks SET due_at = now()")
        await self.probe().check_due()

    async def alarms(self) -> list[tuple[str, list[str]]]:
        query = """
            SELECT payload FROM outbox WHERE topic = 'exchange_account.alarmed' ORDER BY user_id, id
        """
        events = [json.loads(row["payload"]) for row in await self.trading.fetch(query)]
        assert [event["aggregate_seq"] for event in events] == sorted(event["aggregate_seq"] for event in events)
        return [(event["reason"], event["details"]) for event in events]


@asynccontextmanager
async def open_desk(trading: Trading, **settings: Any) -> AsyncIterator[Desk]:
    accounts = Accounts()
    async with serve_tokens() as tokens:
        changed = trading.settings.model_copy(update={"jwks_url": tokens.jwks_url, **settings})
        async with RunningService(partial(build, account_reader=accounts), changed, {"http"}) as running:
            async with open_client(running.url) as client:
                yield Desk(trading, accounts, client, tokens)


@pytest.fixture
async def desk(trading: Trading) -> AsyncIterator[Desk]:
    async with open_desk(trading) as desk:
        yield desk


def refusals(answer: Answer) -> dict[str, str]:
    return {each["field"]: each["reason"] for each in answer.body["refusals"]}
