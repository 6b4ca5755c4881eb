"""Process layout: one process per service (trading's feed and backtests separate), or one per role."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.migrate import ROOT, SERVICES

CONNECTIONS = ROOT / "deploy" / "postgres" / "connections.toml"
TRADING_ROLES = ("http", "consumers", "relay", "jobs", "worker")
COMMON_ROLES = ("http", "consumers", "relay", "jobs")
SEPARATE_ROLES = ("feed", "backtests")
TRADING_EXTRA_ROLES = ("worker", *SEPARATE_ROLES)


@dataclass(frozen=True)
class ServiceProcess:
    """A process of a service. `roles` is the value of `--only`; `pools` overrides connection limits by role."""

    name: str
    service: str
    roles: Sequence[str] = ()
    pools: Mapping[str, int] = field(default_factory=dict)

    @property
    def serves_http(self) -> bool:
        """Return whether the gateway and other services send requests to it."""
        return not self.roles or "http" in self.roles


def processes_per_service() -> list[ServiceProcess]:
    """Return one process per service, plus one for the feed and one for backtests."""
    services = [ServiceProcess(name, name, TRADING_ROLES if name == "trading" else ()) for name in SERVICES]
    return [*services, *(ServiceProcess(role, "trading", (role,)) for role in SEPARATE_ROLES)]


def processes_per_role() -> list[ServiceProcess]:
    """Return one process per service and role, named `<service>-<role>`, with the few connections it needs."""
    pools = connections()["split"]
    return [
        ServiceProcess(f"{service}-{role}", service, (role,), pools[role])
        for service in SERVICES
        for role in (*COMMON_ROLES, *(TRADING_EXTRA_ROLES if service == "trading" else ()))
    ]


def connections() -> dict[str, Any]:
    """Return the budget of database connections."""
    return tomllib.loads(CONNECTIONS.read_text())
