"""Result of the demo: a table per tenant, the checks and one JSON object."""

from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from cli.demo.checks import DemoOutcome
from cli.demo.scenario import DemoTenant
from cli.demo.screen import money
from shared.testing.api_client import Json


@dataclass
class TenantResult:
    """A tenant's results as returned by the API to the tenant."""

    tenant: DemoTenant
    sessions: list[Json]  # the sessions' views
    summary: Json
    usage: Json
    alerts: int

    def as_object(self) -> dict[str, object]:
        return {
            "email": self.tenant.email,
            "plan": self.tenant.plan,
            "sessions": [
                {
                    "session_id": view["session_id"],
                    "mode": view["mode"],
                    "symbol": view["symbol"],
                    "strategy": session.strategy,
                    "fingerprint": view["fingerprint"],
                    "fills": view["total_fills"],
                    "trades": view["total_trades"],
                    "pnl": view["pnl"],
                }
                for session, view in zip(self.tenant.sessions, self.sessions, strict=True)
            ],
            "analytics": {"trades": self.summary["total_trades"], "pnl": self.summary["pnl"]},
            "usage": {"trades": self.usage["total_trades"]},
            "alerts": self.alerts,
        }


async def fetch_result(tenant: DemoTenant) -> TenantResult:
    """Fetch a tenant's results through the gateway."""
    views = [await tenant.must("GET", f"/v1/sessions/{session.session_id}") for session in tenant.sessions]
    return TenantResult(
        tenant,
        views,
        await fetch_summary(tenant),
        await tenant.must("GET", "/v1/usage"),
        sum(alert["triggered_count"] for alert in await tenant.list_all("/v1/alerts")),
    )


async def fetch_summary(tenant: DemoTenant) -> Json:
    return await tenant.must("GET", f"/v1/performance/summary?mode={tenant.mode}")


def show(console: Console, results: list[TenantResult], outcome: DemoOutcome) -> None:
    """Print the tables."""
    for result in results:
        console.print(_tenant_table(result))
        for refusal in result.tenant.refusals:
            console.print(f"  refused {refusal}")
    checks = Table("check", "passed", "details", title="Checks")
    for name, passed in outcome.checks.items():
        checks.add_row(name, "[green]yes[/]" if passed else "[red]NO[/]", outcome.seen[name])
    console.print(checks)


def _tenant_table(result: TenantResult) -> Table:
    table = Table(
        "strategy",
        "symbol",
        "trades",
        "pnl",
        "win rate %",
        "drawdown %",
        "fingerprint",
        title=f"{result.tenant.email} ({result.tenant.plan}{', on the exchange' if result.tenant.is_live else ''})",
        caption=(
            f"analytics: {result.summary['total_trades']} trades, pnl {result.summary['pnl']}; "
            f"usage: {result.usage['total_trades']} trades; alerts: {result.alerts}"
        ),
    )
    for session, view in zip(result.tenant.sessions, result.sessions, strict=True):
        trades = view["total_trades"]
        rate = f"{100 * view['winning_trades'] / trades:.1f}" if trades else "-"
        table.add_row(
            session.strategy,
            view["symbol"],
            str(trades),
            money(view["pnl"]),
            rate,
            money(view["max_drawdown_percentage"]),
            view["fingerprint"][:12],
        )
    return table
