"""The budget of database connections adds up, and equals the defaults of the services' settings."""

import tomllib

import pytest

from services.analytics.settings import AnalyticsSettings
from services.auth.settings import AuthSettings
from services.billing.settings import BillingSettings
from services.notifications.settings import NotificationsSettings
from services.trading.settings import TradingSettings
from shared.chassis.settings import ServiceSettings
from stack.layout import SEPARATE_ROLES, TRADING_EXTRA_ROLES, processes_per_role
from stack.migrate import ROLES, ROOT, SERVICES
from stack.postgres import SETTINGS

BUDGET = tomllib.loads((ROOT / "deploy" / "postgres" / "connections.toml").read_text())
OF_PROCESS: dict[str, type[ServiceSettings]] = {
    "auth": AuthSettings,
    "billing": BillingSettings,
    "trading": TradingSettings,
    "feed": TradingSettings,
    "backtests": TradingSettings,
    "analytics": AnalyticsSettings,
    "notifications": NotificationsSettings,
}


def test_every_process_has_a_line() -> None:
    assert set(BUDGET["processes"]) == {*SERVICES, *SEPARATE_ROLES} == set(OF_PROCESS)


@pytest.mark.parametrize("process", sorted(OF_PROCESS))
def test_settings_open_the_connections_of_the_budget(process: str) -> None:
    fields = OF_PROCESS[process].model_fields
    assert {role: fields[f"postgres_{role}_connections"].default for role in ROLES} == BUDGET[process]


@pytest.mark.parametrize("role", sorted(BUDGET["split"]))
def test_a_separate_role_opens_no_more_than_the_process_of_all_roles(role: str) -> None:
    assert set(BUDGET["split"][role]) == set(ROLES)
    assert all(1 <= most <= BUDGET["trading"][pool] for pool, most in BUDGET["split"][role].items())


def test_processes_split_by_role_fit_into_the_server() -> None:
    opened = sum(sum(part.pools.values()) for part in processes_per_role())
    assert len(processes_per_role()) == 4 * len(SERVICES) + len(TRADING_EXTRA_ROLES)
    assert opened + BUDGET["kept_back"] <= BUDGET["max_connections"]


def test_all_processes_fit_into_the_server() -> None:
    opened = sum(count * sum(BUDGET[process].values()) for process, count in BUDGET["processes"].items())
    assert opened + BUDGET["kept_back"] <= BUDGET["max_connections"] == int(SETTINGS["max_connections"])
