"""Which processes the services run as: one each (trading's feed and backtests apart), or one per role."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from stack.migrate import ROOT, SERVICES

CONNECTIONS = ROOT / "deploy" / "postgres" / "connections.toml"
TRADING_ROLES = ("http", "consumers", "relay", "jobs", "worker")
OF_EVERY_SERVICE = ("http", "consumers", "relay", "jobs")
APART = ("feed", "backtests")
OF_TRADING = ("worker", *APART)


@dataclass(frozen=True)
class Part:
    """A process of a service. `roles` are what `--only` is given; `pools` its connections, unless the default."""

    name: str
    service: str
    roles: Sequence[str] = ()
    pools: Mapping[str, int] = field(default_factory=dict)

    @property
    def serves_http(self) -> bool:
        """Whether the gateway and other services go to it."""
        return not self.roles or "http" in self.roles


def together() -> list[Part]:
    """A process per service with all its roles, the feed, and the one that works on backtests."""
    services = [Part(name, name, TRADING_ROLES if name == "trading" else ()) for name in SERVICES]
    return [*services, *(Part(role, "trading", (role,)) for role in APART)]


def by_role() -> list[Part]:
    """A process per service and role, named `<service>-<role>`, with the few connections that the role needs."""
    pools = connections()["split"]
    return [
        Part(f"{service}-{role}", service, (role,), pools[role])
        for service in SERVICES
        for role in (*OF_EVERY_SERVICE, *(OF_TRADING if service == "trading" else ()))
    ]


def connections() -> dict[str, Any]:
    """The budget of database connections."""
    return tomllib.loads(CONNECTIONS.read_text())
