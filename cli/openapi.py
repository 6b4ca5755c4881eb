"""`tradefleet openapi`: one OpenAPI file for the whole platform, generated from the services' endpoints."""

import json
from pathlib import Path
from typing import Any, cast

import click

from cli.options import OneLineCommand
from cli.reference_page import page
from services.analytics.routes.endpoints import analytics_endpoints
from services.auth.routes.logins import LoginRoutes
from services.auth.routes.me import MyRoutes
from services.billing.routes import Routes as BillingRoutes
from services.notifications.routes.alerts import AlertRoutes
from services.notifications.routes.inbox import InboxRoutes
from services.trading.routes.backtests import BacktestRoutes
from services.trading.routes.candles import CandleRoutes
from services.trading.routes.configurations import ConfigurationRoutes
from services.trading.routes.published_strategies import PublishingRoutes
from services.trading.routes.session_parts import SessionPartRoutes
from services.trading.routes.sessions import SessionRoutes
from services.trading.routes.strategies import StrategyRoutes
from services.trading.routes.trades import TradeRoutes
from shared.chassis.http import openapi
from shared.chassis.http.app import Endpoint
from shared.chassis.quota.metered_paths import with_refusal
from stack.failure import CheckFailed
from stack.migrate import ROOT

FILE = ROOT / "deploy" / "gateway" / "openapi.json"
PAGE = FILE.with_name("docs.html")
UNUSED: Any = cast(Any, None)  # Any: the routes are described here, never called


@click.command("openapi", cls=OneLineCommand)
@click.option("--check", is_flag=True, help="Fail if the file is out of date.")
@click.option("--output", type=click.Path(path_type=Path), default=FILE, show_default=True)
def openapi_command(check: bool, output: Path) -> None:
    """Write the OpenAPI file that the gateway serves, and the HTML reference next to it."""
    document = openapi.describe("tradefleet", all_endpoints())
    files = {
        output: json.dumps(document, indent=1, sort_keys=True) + "\n",
        output.with_name(PAGE.name): page(document),
    }
    for file, text in files.items():
        if check and (not file.exists() or file.read_text() != text):
            raise CheckFailed(f"{file} is stale: run `tradefleet openapi`")
        if not check:
            file.write_text(text)
            click.echo(f"wrote {file}")


def all_endpoints() -> list[Endpoint]:
    """Return the endpoints of all five services."""
    endpoints = [
        *LoginRoutes(UNUSED, UNUSED, UNUSED).endpoints(),
        *MyRoutes(UNUSED, UNUSED).endpoints(),
        *BillingRoutes(UNUSED).endpoints(),
        *StrategyRoutes(UNUSED).endpoints(),
        *PublishingRoutes(UNUSED).endpoints(),
        *ConfigurationRoutes(UNUSED).endpoints(),
        *SessionRoutes(UNUSED, UNUSED, UNUSED, UNUSED).endpoints(),
        *SessionPartRoutes(UNUSED).endpoints(),
        *TradeRoutes(UNUSED).endpoints(),
        *BacktestRoutes(UNUSED, UNUSED, UNUSED, UNUSED).endpoints(),
        *CandleRoutes(UNUSED, UNUSED).endpoints(),
        *analytics_endpoints(UNUSED, UNUSED),
        *AlertRoutes(UNUSED, UNUSED).endpoints(),
        *InboxRoutes(UNUSED).endpoints(),
    ]
    return [with_refusal(endpoint) for endpoint in endpoints]
