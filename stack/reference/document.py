"""The OpenAPI document of the whole platform, generated from the services' endpoints."""

import json
from functools import cache
from typing import Any, cast

from services.analytics.routes.endpoints import analytics_endpoints
from services.auth.routes.logins import LoginRoutes
from services.auth.routes.me import MyRoutes
from services.billing.routes import Routes as BillingRoutes
from services.notifications.routes.alerts import AlertRoutes
from services.notifications.routes.inbox import InboxRoutes
from services.trading.routes.account_risk import AccountRiskRoutes
from services.trading.routes.backtests import BacktestRoutes
from services.trading.routes.candles import CandleRoutes
from services.trading.routes.configurations import ConfigurationRoutes
from services.trading.routes.exchange_accounts import ExchangeAccountRoutes
from services.trading.routes.kill_switches import KillSwitchRoutes
from services.trading.routes.published_strategies import PublishingRoutes
from services.trading.routes.session_drift import SessionDriftRoutes
from services.trading.routes.session_parts import SessionPartRoutes
from services.trading.routes.sessions import SessionRoutes
from services.trading.routes.strategies import StrategyRoutes
from services.trading.routes.trades import TradeRoutes
from shared.chassis.http import openapi
from shared.chassis.http.app import Endpoint
from shared.chassis.quota.metered_paths import with_refusal

UNUSED: Any = cast(Any, None)  # Any: the routes are described here, never called
DESCRIPTION = """\
All resources are at this address. Send `Authorization: Bearer <access_token>` with a token from
`POST /v1/auth/register` or `POST /v1/auth/login`. Amounts and prices are strings such as `"0.10"`, times are UTC
such as `2026-01-31T09:30:00.123Z`, lists are `{"items": […], "next_cursor": …}`. Requests that create a resource
accept an `Idempotency-Key`: the same request may then be sent again. Errors are `application/problem+json` with one
of the types listed at [/problems](/problems).
"""


def document_text() -> str:
    """Return the document as JSON."""
    return json.dumps(platform_document(), indent=1, sort_keys=True) + "\n"


@cache
def platform_document() -> openapi.Json:
    """Return the document; the caller must not change it."""
    return openapi.describe("tradefleet", all_endpoints(), DESCRIPTION)


def all_endpoints() -> list[Endpoint]:
    """Return the endpoints of all five services."""
    endpoints = [
        *LoginRoutes(UNUSED, UNUSED, UNUSED).endpoints(),
        *MyRoutes(UNUSED, UNUSED).endpoints(),
        *BillingRoutes(UNUSED).endpoints(),
        *StrategyRoutes(UNUSED).endpoints(),
        *PublishingRoutes(UNUSED).endpoints(),
        *ConfigurationRoutes(UNUSED).endpoints(),
        *SessionRoutes(UNUSED, UNUSED, UNUSED, UNUSED, UNUSED, UNUSED).endpoints(),
        *SessionPartRoutes(UNUSED).endpoints(),
        *SessionDriftRoutes(UNUSED).endpoints(),
        *TradeRoutes(UNUSED).endpoints(),
        *BacktestRoutes(UNUSED, UNUSED, UNUSED, UNUSED).endpoints(),
        *CandleRoutes(UNUSED, UNUSED).endpoints(),
        *ExchangeAccountRoutes(UNUSED, UNUSED, UNUSED).endpoints(),
        *AccountRiskRoutes(UNUSED, UNUSED).endpoints(),
        *KillSwitchRoutes(UNUSED, UNUSED).endpoints(),
        *analytics_endpoints(UNUSED, UNUSED),
        *AlertRoutes(UNUSED, UNUSED).endpoints(),
        *InboxRoutes(UNUSED).endpoints(),
    ]
    return [with_refusal(endpoint) for endpoint in endpoints]
